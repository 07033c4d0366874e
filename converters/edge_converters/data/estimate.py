"""What tuning on some examples will take on this machine, before it begins: an estimate from sizes and one rate.

Arithmetic: 2 operations a parameter and token forwards; as many backwards through the frozen weights, whose own
gradients nobody needs; and the forward pass once more where activations would take more than half of the free memory
and are computed again instead of kept (gradient checkpointing; Chen et al. 2016). For the attention's share see
Kaplan et al. 2020, section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from edge_converters.data.base_model import ModelShapes, TokenCount

EPOCHS, BATCH, RANK = 3, 8, 16
"""What is assumed where nothing is said: times through the data, examples a step, rank of the LoRA."""

_BYTES, _PACKED = 4, 0.53  # of a weight: float32; NF4 with the constants of its blocks
_TRAINED = 16  # of a parameter that is learnt: itself, its gradient, two moments of Adam
_PROCESS = 800_000_000  # Python with torch, transformers, PEFT and TRL before a weight is read
_WIDTHS, _INNER = 14, 5  # numbers that a layer keeps of a token: times its width, times its inner width
_LOGITS, _AT_A_TIME = 3, 256  # logits, their copy and their gradient, of so many tokens at a time
_ROW = 1024  # tokens that pass at a time at least, where there are so many
# What share of a product's rate a step reaches, measured with the stand-in on two cores; how much longer NF4 takes.
_SHARE, _NF4_SLOWDOWN = 0.45, 1.6


@dataclass(frozen=True, slots=True)
class TuningMethod:
    """Seconds and bytes of one way to tune; `fits` whether the bytes are free now."""

    name: str
    seconds: float
    memory_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class TuningEstimate:
    """Tokens are of all examples once; `steps` of `batch` examples in `epochs`. `longest` tokens has one example.

    `rate` is the multiplications and additions a second that were measured here, `available_bytes` what is free. No
    `methods` where the base's files do not tell its size.
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
    methods: tuple[TuningMethod, ...]


def estimate_tuning(
    counts: Sequence[TokenCount],
    shapes: ModelShapes | None,
    *,
    context: int | None = None,
    epochs: float = EPOCHS,
    batch: int = BATCH,
    rank: int = RANK,
    rate: float | None = None,
) -> TuningEstimate:
    """What LoRA and QLoRA on the processor will take. Examples count with `context` tokens at most; `rate` None is
    measured, which takes some tenths of a second.
    """
    from edge.system.machine import available_memory

    lengths = [min(count.all, context) if context else count.all for count in counts]
    rate = rate if rate is not None else measured_rate(shapes)
    free = available_memory()
    return TuningEstimate(
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
        methods=()
        if shapes is None or not shapes.parameters
        else tuple(_methods(shapes, lengths, epochs, rank, rate, free)),
    )


def measured_rate(shapes: ModelShapes | None = None) -> float:
    """Operations a second of a float32 product on this machine, of the model's own shape, the best of some tries."""
    import numpy as np

    width, forward = (shapes.width, shapes.forward) if shapes is not None else (1024, 4096)
    random = np.random.default_rng(0)
    left = random.standard_normal((256, width), np.float32)
    right = random.standard_normal((width, forward), np.float32)
    seconds = []
    for _ in range(8):
        begun = perf_counter()
        for _ in range(4):
            left @ right
        seconds.append(perf_counter() - begun)
    return 4 * 2 * 256 * width * forward / min(seconds)


def _methods(
    shapes: ModelShapes, lengths: Sequence[int], epochs: float, rank: int, rate: float, free: int
) -> Iterator[TuningMethod]:
    tokens = max(max(lengths, default=0), min(_ROW, sum(lengths)))
    for name, size, slowdown in (("LoRA", _BYTES, 1.0), ("QLoRA", _PACKED, _NF4_SLOWDOWN)):
        checkpointing = _memory(shapes, tokens, rank, size, checkpointing=False) > free / 2
        memory = _memory(shapes, tokens, rank, size, checkpointing=checkpointing)
        operations = epochs * sum(_forwards(shapes, length) for length in lengths) * (3 if checkpointing else 2)
        yield TuningMethod(name, round(operations * slowdown / (rate * _SHARE), 1), memory, memory <= free)


def _forwards(shapes: ModelShapes, length: int) -> float:
    """Operations of one example's forward pass."""
    matrices = sum(rows * columns for rows, columns in shapes.linear) + shapes.vocabulary * shapes.width
    attention = shapes.layers * shapes.width * length  # causal: half of the square
    return 2.0 * length * (matrices + attention)


def _memory(shapes: ModelShapes, tokens: int, rank: int, size: float, *, checkpointing: bool) -> int:
    """At the peak, with so many tokens at a time; `checkpointing` keeps what lies between layers only and computes the
    rest a second time.
    """
    linear = sum(rows * columns for rows, columns in shapes.linear)
    weights = linear * size + (shapes.parameters - linear) * _BYTES
    learnt = sum(rank * (rows + columns) for rows, columns in shapes.linear) * _TRAINED
    kept = activations(
        shapes.layers, shapes.width, shapes.forward, shapes.vocabulary, tokens, checkpointing=checkpointing
    )
    return int(_PROCESS + weights + learnt + kept)


def activations(
    layers: int,
    width: int,
    forward: int,
    vocabulary: int,
    tokens: int,
    *,
    checkpointing: bool,
    bytes_per_number: int = 4,
) -> int:
    """Bytes that are kept of so many tokens at a time for the way back, logits included, in numbers of
    `bytes_per_number` bytes; `checkpointing` keeps what lies between layers only.
    """
    layer = bytes_per_number * (_WIDTHS * width + _INNER * forward)
    kept = layers * bytes_per_number * width + 2 * layer if checkpointing else layers * layer
    return tokens * kept + 4 * _LOGITS * vocabulary * min(tokens, _AT_A_TIME)
