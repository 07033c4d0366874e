"""What tuning on some examples will take on this machine, before it begins: an estimate from sizes and one rate.

Arithmetic: 2 operations a parameter and token forwards; as many backwards through the frozen weights, whose own
gradients nobody needs; and the forward pass once more where activations are computed again instead of kept (gradient
checkpointing; Chen et al. 2016). Kaplan et al. 2020, section 2.1, for the attention's share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from edge_converters.examples_base import Count, Shapes

EPOCHS, BATCH, RANK = 3, 8, 16
"""What is assumed where nothing is said: times through the data, examples a step, rank of the LoRA."""

_BYTES, _PACKED = 4, 0.5625  # of a weight: float32; NF4 with its scales
_TRAINED = 16  # of a parameter that is learnt: itself, its gradient, two moments of Adam
_FIXED = 700_000_000  # torch, transformers and peft themselves
_KEPT = 12  # numbers of the model's width that one layer keeps of a token for its backward pass, attention included
_LOGITS = 3  # of the vocabulary's width: logits, their float32 copy, their gradient
# What share of the rate of large products a step reaches, measured with the stand-in on two cores; and how many weights
# a second are unpacked from four bits, three times a step, which is a guess on the careful side.
_SHARE, _UNPACKED = 0.4, 3e8


@dataclass(frozen=True, slots=True)
class Way:
    """Seconds and bytes of one way to tune; `fits` whether the bytes are free now."""

    name: str
    seconds: float
    memory_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens are of all examples once; `steps` of `batch` examples in `epochs`. `longest` tokens has one example.

    `rate` is the multiplications and additions a second that were measured here, `available_bytes` what is free. No
    `ways` where the base's files do not tell its size.
    """

    examples: int
    tokens: int
    learnt: int
    longest: int
    epochs: float
    batch: int
    rank: int
    steps: int
    rate: float
    available_bytes: int
    ways: tuple[Way, ...]


def estimate(
    counts: Sequence[Count],
    shapes: Shapes | None,
    *,
    context: int | None = None,
    epochs: float = EPOCHS,
    batch: int = BATCH,
    rank: int = RANK,
    rate: float | None = None,
) -> Cost:
    """What LoRA and QLoRA on the processor will take. Examples count with `context` tokens at most; `rate` None is
    measured, which takes some tenths of a second.
    """
    from edge.machine import available_memory

    lengths = [min(count.all, context) if context else count.all for count in counts]
    longest = max(lengths, default=0)
    rate = rate if rate is not None else measured_rate()
    free = available_memory()
    ways: tuple[Way, ...] = ()
    if shapes is not None and shapes.parameters:
        work = epochs * sum(_operations(shapes, length) for length in lengths) / (rate * _SHARE)
        memory = {name: _memory(shapes, longest, rank, size) for name, size in (("LoRA", _BYTES), ("QLoRA", _PACKED))}
        unpacking = 3 * epochs * len(counts) * sum(rows * columns for rows, columns in shapes.linear) / _UNPACKED
        seconds = {"LoRA": work, "QLoRA": work + unpacking}
        ways = tuple(Way(name, round(seconds[name], 1), need, need <= free) for name, need in memory.items())
    return Cost(
        examples=len(counts),
        tokens=sum(count.all for count in counts),
        learnt=sum(count.learnt for count in counts),
        longest=max((count.all for count in counts), default=0),
        epochs=epochs,
        batch=batch,
        rank=rank,
        steps=-int(-len(counts) * epochs // batch),
        rate=rate,
        available_bytes=free,
        ways=ways,
    )


def measured_rate() -> float:
    """Operations a second of a large float32 product on this machine, the best of some tries."""
    import numpy as np

    size = 1024
    left = np.random.default_rng(0).standard_normal((size, size), np.float32)
    seconds = []
    for _ in range(5):
        begun = perf_counter()
        left @ left
        seconds.append(perf_counter() - begun)
    return 2 * size**3 / min(seconds)


def _operations(shapes: Shapes, length: int) -> float:
    """Of one example forwards, backwards and forwards once more."""
    matrices = sum(rows * columns for rows, columns in shapes.linear) + shapes.vocabulary * shapes.width
    attention = shapes.layers * shapes.width * length  # causal: half of the square
    return 3.0 * length * 2 * (matrices + attention)


def _memory(shapes: Shapes, longest: int, rank: int, size: float) -> int:
    """At the peak, with one example of the longest at a time and activations kept between layers only."""
    linear = sum(rows * columns for rows, columns in shapes.linear)
    weights = linear * size + (shapes.parameters - linear) * _BYTES
    learnt = sum(rank * (rows + columns) for rows, columns in shapes.linear) * _TRAINED
    layer = _KEPT * shapes.width + 4 * shapes.forward
    activations = longest * 4 * (shapes.layers * shapes.width + layer + _LOGITS * shapes.vocabulary)
    unpacked = max((rows * columns for rows, columns in shapes.linear), default=0) * _BYTES if size < 1 else 0
    return int(weights + learnt + activations + unpacked + _FIXED)
