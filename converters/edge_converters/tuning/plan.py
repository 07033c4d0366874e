"""What a run of tuning will be: its rows and steps, and the memory and time that it takes on this machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import TuningError, UsageError
from edge.system.machine import available_memory
from edge_converters.data.estimate import activations
from edge_converters.tuning.settings import TuneSettings
from edge_converters.tuning.tokens import Encoded, Row, pack
from edge_converters.weights.checkpoint import Checkpoint, TensorInfo, import_torch

FEWEST = 8
"""Examples below which nothing is learnt but the examples themselves."""

_HEADS = ("embed_tokens", "lm_head", "wte", "wpe", "embed_in", "embed_out")
# Bytes a parameter: in NF4 with the constants of its blocks; of an adapter its weight, gradient and Adam's two moments.
_NF4, _ADAPTED = 0.53, 16
# Anonymous memory of Python with torch, transformers, PEFT and TRL before a weight is read; measured on Linux.
_PROCESS = 1_000_000_000
# How much of a matrix product's speed a whole step reaches, how much longer NF4 takes, and the seconds until the first
# step (tests/benchmarks/tuning.py).
_EFFICIENCY, _NF4_SLOWER, _START = 0.28, 1.6, 8.0
_ROW_TOKENS = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True, slots=True)
class Size:
    """A base in numbers; `linear` are the parameters of the layers' linear modules, `adapter` a LoRA's on them."""

    parameters: int
    linear: int
    adapter: int
    layers: int
    hidden: int
    inner: int
    vocabulary: int
    context: int


@dataclass(frozen=True, slots=True)
class TunePlan:
    """What a run will take. Tokens are of one epoch; `micro_batch` rows pass at a time, `accumulate` times a step;
    `evaluate_every` is in steps. Memory and seconds are estimates for this machine.
    """

    examples: int
    held_out: int
    left_out: int
    tokens: int
    learnt_tokens: int
    longest: int
    max_length: int
    rows: int
    micro_batch: int
    accumulate: int
    steps: int
    epochs: float
    evaluate_every: int
    gradient_checkpointing: bool
    device: str
    dtype: str
    parameters: int
    trainable: int
    memory_bytes: int
    available_bytes: int
    checkpoint_bytes: int
    seconds: float


def measure(weights: Checkpoint, settings: TuneSettings) -> tuple[Size, tuple[str, ...]]:
    """The base's numbers and the names of the modules that get a LoRA, from its config and the headers of its files.

    No weight is read. Raises TuningError for what is no language model, UsageError for targets that it has not.
    """
    config: dict[str, Any] = weights.config.get("text_config") or weights.config
    matrices: dict[str, list[TensorInfo]] = {}
    for name, info in weights.tensors.items():
        if len(info.shape) == 2 and name.endswith(".weight") and not any(head in name for head in _HEADS):
            matrices.setdefault(name.split(".")[-2], []).append(info)
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    if not matrices or not hidden:
        raise TuningError(f"{weights.directory} is no language model that can be tuned: it has no linear layers")
    targets = tuple(sorted(matrices)) if settings.targets == ("all-linear",) else settings.targets
    unknown = [name for name in targets if name not in matrices]
    if unknown:
        raise UsageError(f"{weights.directory} has no modules called {unknown[0]!r}; it has: {', '.join(matrices)}")
    size = Size(
        parameters=sum(info.elements for info in weights.tensors.values()),
        linear=sum(info.elements for infos in matrices.values() for info in infos),
        adapter=sum(settings.rank * sum(info.shape) for name in targets for info in matrices[name]),
        layers=int(config.get("num_hidden_layers") or config.get("n_layer") or 1),
        hidden=hidden,
        inner=int(config.get("intermediate_size") or 4 * hidden),
        vocabulary=int(config.get("vocab_size") or max(info.shape[0] for info in weights.tensors.values())),
        context=int(config.get("max_position_embeddings") or config.get("n_positions") or 2048),
    )
    return size, targets


def longest_allowed(examples: Sequence[Encoded], settings: TuneSettings, context: int) -> int:
    """The most tokens of an example.

    Raises TuningError when one is longer and `skip_long` is not set, UsageError when the base's context is shorter
    than what was asked for.
    """
    if settings.max_length > context:
        raise UsageError(f"max_length is {settings.max_length:,}, and the base was made for {context:,} tokens")
    limit = settings.max_length or context
    long = [example for example in examples if len(example.tokens) > limit]
    if long and not settings.skip_long:
        worst = max(long, key=lambda example: len(example.tokens))
        raise TuningError(
            f"{len(long)} of {len(examples)} examples are longer than {limit:,} tokens; the longest, {worst.where}, "
            f"has {len(worst.tokens):,}. Shorten them, leave them out with --skip-long"
            + (f", or raise --max-length (the base takes {context:,})" if limit < context else "")
        )
    return limit


def plan(
    size: Size, learnt: Sequence[Encoded], held_out: Sequence[Encoded], settings: TuneSettings, *, left_out: int
) -> tuple[TunePlan, list[Row], list[Row]]:
    """The run, its rows and those of what is held out. Raises TuningError when there are too few examples."""
    if len(learnt) < FEWEST:
        raise TuningError(
            f"there are {len(learnt)} examples to learn from, and fewer than {FEWEST} teach a model nothing but "
            "themselves; write more (50 good ones show a form, some hundreds a vocabulary)"
        )
    torch = import_torch()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    longest = max(len(example.tokens) for example in (*learnt, *held_out))
    length = settings.max_length or _rounded(longest, size.context)
    most = settings.batch if settings.packing else 1
    rows, quiet = (pack(examples, length=length, most=most) for examples in (learnt, held_out))
    here = _Machine(size, settings, device, _dtype(settings, device), _available(torch, device))
    checkpointing = settings.gradient_checkpointing
    if checkpointing is None:
        checkpointing = here.memory(length, saving=False) > here.available / 2
    rows_a_step = max(1, min(len(rows), round(settings.batch * len(rows) / len(learnt))))
    accumulate = math.ceil(rows_a_step / here.most_rows(length, rows_a_step, checkpointing))
    micro = math.ceil(rows_a_step / accumulate)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps = math.ceil(math.ceil(math.ceil(len(rows) / (micro * processes)) / accumulate) * settings.epochs)
    every = max(1, steps // settings.evaluations)
    tokens = sum(len(row.tokens) for row in rows)
    evaluated = sum(len(row.tokens) for row in quiet) * (steps // every + 1)
    made = TunePlan(
        examples=len(learnt),
        held_out=len(held_out),
        left_out=left_out,
        tokens=tokens,
        learnt_tokens=sum(example.learnt for example in learnt),
        longest=longest,
        max_length=length,
        rows=len(rows),
        micro_batch=micro,
        accumulate=accumulate,
        steps=steps,
        epochs=settings.epochs,
        evaluate_every=every,
        gradient_checkpointing=checkpointing,
        device=device,
        dtype=here.dtype,
        parameters=size.parameters,
        trainable=size.adapter,
        memory_bytes=here.memory(micro * length, saving=checkpointing),
        available_bytes=here.available,
        checkpoint_bytes=size.adapter * 12,
        seconds=round(here.seconds(torch, tokens, evaluated, saving=checkpointing)),
    )
    return made, rows, quiet


@dataclass(frozen=True, slots=True)
class _Machine:
    """A base and its settings on this machine."""

    size: Size
    settings: TuneSettings
    device: str
    dtype: str
    available: int

    def most_rows(self, length: int, rows: int, saving: bool) -> int:
        """How many rows may pass at a time: no more than the memory holds, nor than makes a step faster."""
        most = max(1, min(rows, _ROW_TOKENS[self.device] // length))
        while most > 1 and self.memory(most * length, saving=saving) > 0.8 * self.available:
            most -= 1
        return most

    def memory(self, tokens: int, *, saving: bool) -> int:
        """Bytes at the peak: weights, the adapter with its optimiser, and what is kept of `tokens` for the way back."""
        size, width = self.size, 2 if self.dtype == "bfloat16" else 4
        base = size.parameters * width
        if self.settings.qlora:
            base = int(size.linear * _NF4) + (size.parameters - size.linear) * 4
        kept = activations(
            size.layers, size.hidden, size.inner, size.vocabulary, tokens, checkpointing=saving, bytes_per_number=width
        )
        process = _PROCESS if self.device == "cpu" else 0
        return int(process + base + _ADAPTED * size.adapter + kept)

    def seconds(self, torch: Any, learnt: int, evaluated: int, *, saving: bool) -> float:
        """From the speed of a matrix product of this model's shape: two operations a parameter and token forwards, as
        many backwards (a LoRA's base needs no gradients of its own), and forwards once more with gradient
        checkpointing.
        """
        slower = _NF4_SLOWER if self.settings.qlora else 1
        rate = _product_rate(torch, self.size, self.device, self.dtype) * _EFFICIENCY / slower
        passes = (3 if saving else 2) * learnt * self.settings.epochs + evaluated
        return 2 * (self.size.linear + self.size.vocabulary * self.size.hidden) * passes / rate + _START


def _rounded(longest: int, context: int) -> int:
    """A length for rows that also takes several short examples."""
    return min(context, max(256, 64 * math.ceil(longest / 64)))


def _dtype(settings: TuneSettings, device: str) -> str:
    """bfloat16 halves the memory, and is slow on processors."""
    return settings.dtype if settings.dtype != "auto" else ("bfloat16" if device == "cuda" else "float32")


def _available(torch: Any, device: str) -> int:
    return int(torch.cuda.mem_get_info()[0]) if device == "cuda" else available_memory()


def _product_rate(torch: Any, size: Size, device: str, dtype: str) -> float:
    """Operations a second of [256, hidden] x [hidden, inner], the best of some."""
    kind = getattr(torch, dtype)
    left = torch.ones(256, size.hidden, device=device, dtype=kind)
    right = torch.ones(size.hidden, size.inner, device=device, dtype=kind)
    best = math.inf
    for _ in range(8):
        begun = time.perf_counter()
        for _ in range(4):
            left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return float(4 * 2 * left.numel() * size.inner / best)
