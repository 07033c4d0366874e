"""What a conversion will take on this machine: memory, disk and time, before a byte is written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge_converters.merge import Merged, open_weights
from edge_converters.publish import AdapterSource

if TYPE_CHECKING:
    from edge_converters.checkpoint import Checkpoint

# Bits a weight takes in the file, measured by llama.cpp's authors on Llama-3-8B (tools/quantize/README.md); int4 and
# int8 ONNX with their scales.
BITS = {
    "f32": 32, "fp32": 32, "f16": 16, "bf16": 16, "fp16": 16, "q8_0": 8.5, "int8": 9.0, "q6_k": 6.56, "q5_k_m": 5.7,
    "q5_k_s": 5.57, "q4_k_m": 4.89, "int4": 5.5, "q4_k_s": 4.67, "q4_0": 4.66, "q3_k_m": 4.0, "q2_k": 3.16,
}  # fmt: skip
_PLAIN = ("f32", "f16", "bf16", "q8_0")
# How many times as long as merging a weight it takes to quantise it (measured on 2 cores, Phi-3-mini).
_QUANTISE = {"gguf": 12.0, "onnx": 12.0}
# Interpreter, torch and buffers.
_BASE_MEMORY = 600_000_000
_SAMPLE = 8_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversion will take, in bytes and seconds.

    `disk_bytes` is the most that lies on the disk at a time, the output included; `memory_bytes` is anonymous
    memory at the peak (files that are memory-mapped do not count: the system drops them when it needs room).
    `applied` has a line for each adapter. `seconds` is an estimate from a sample of this model's weights.
    """

    kind: str
    precision: str
    parameters: int
    applied: tuple[str, ...]
    output_bytes: int
    disk_bytes: int
    free_bytes: int
    memory_bytes: int
    available_bytes: int
    seconds: float


def plan(
    kind: str, base: Path, out: Path, *, adapters: Sequence[AdapterSource] = (), precision: str | None = None
) -> Plan:
    """What `kind` ("merge", "gguf", "onnx") of that base will take; the preflight of the adapters is part of it.

    Raises ConversionError and AdapterError as the conversion itself would, UsageError for an unknown precision.
    """
    import psutil

    weights = open_weights(base, adapters)
    parameters = sum(info.elements for info in weights.tensors.values())
    stored = sum(info.nbytes for info in weights.tensors.values())
    precision = precision or _stored_precision(weights)
    if precision not in BITS:
        raise UsageError(f"{precision!r} is no precision; choose one of {', '.join(BITS)}")
    output = stored if kind == "merge" else int(parameters * BITS[precision] / 8)
    quantised = kind == "gguf" and precision not in _PLAIN
    largest = max(info.elements for info in weights.tensors.values())
    return Plan(
        kind=kind,
        precision=precision,
        parameters=parameters,
        applied=applied_lines(weights),
        output_bytes=output,
        # llama.cpp's quantiser reads a file in the model's own precision.
        disk_bytes=output + (stored if quantised else 0),
        free_bytes=shutil.disk_usage(_existing(out)).free,
        # The quantiser holds the largest tensor in float32 and in its new form.
        memory_bytes=_BASE_MEMORY + (largest * 5 if quantised else 0),
        available_bytes=psutil.virtual_memory().available,
        seconds=round(_seconds(weights, parameters, kind, quantised or precision in ("int4", "int8")), 1),
    )


def applied_lines(weights: Checkpoint | Merged) -> tuple[str, ...]:
    """What each adapter changes, for people."""
    if not isinstance(weights, Merged):
        return ()
    return tuple(
        f"{adapter.path}: {adapter.modules} of {adapter.of} modules applied, rank "
        + ", ".join(str(rank) for rank in adapter.ranks)
        + (f", {len(adapter.replaced)} tensors replaced" if adapter.replaced else "")
        for adapter in weights.applied.adapters
    )


def _stored_precision(weights: Checkpoint | Merged) -> str:
    names = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
    largest = max(weights.tensors.values(), key=lambda info: info.elements)
    return names.get(largest.dtype, "f16")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in path.parents if folder.exists())


def _seconds(weights: Checkpoint | Merged, parameters: int, kind: str, quantised: bool) -> float:
    """Merge and cast some rows of a large tensor, and take it from there."""
    import torch

    touched = [info for name, info in weights.tensors.items() if isinstance(weights, Merged) and weights.touched(name)]
    info = max(touched or list(weights.tensors.values()), key=lambda info: info.elements)
    rows = info.shape[0] if info.shape else 1
    sample = max(1, min(rows, _SAMPLE * rows // max(1, info.elements)))
    begun = time.perf_counter()
    weights.read(info.name, slice(0, sample)).to(torch.float32).to(torch.float16).clone()
    elapsed = time.perf_counter() - begun
    a_parameter = elapsed / max(1, info.elements * sample // max(1, rows))
    return parameters * a_parameter * (1 + (_QUANTISE.get(kind, 0.0) if quantised else 0)) + 3.0
