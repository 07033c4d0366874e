"""What a conversion will take on this machine: memory, disk and time, before a byte is written."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge_converters.gguf.export import bytes_needed
from edge_converters.gguf.quantise import BITS as QUANTISED_BITS
from edge_converters.lora.merge import Merged, open_weights
from edge_converters.lora.peft_adapter import Lora
from edge_converters.types import Adapters, adapter_sources
from edge_converters.weights.tensor_chunks import bytes_of, compute_chunks

if TYPE_CHECKING:
    from edge_converters.weights.checkpoint import Checkpoint

_MERGED = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
_GGUF_BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, **QUANTISED_BITS}
_ONNX_BITS = {"fp32": 32.0, "fp16": 16.0, "int8": 9.0, "int4": 7.0}
# Anonymous memory at the peak, measured with a Phi-3-mini (tests/benchmarks/conversion.py).
_MEMORY = {
    "adapter": 300_000_000,
    "merge": 300_000_000,
    "gguf": 300_000_000,
    "onnx": 1_500_000_000,
}
# How many times as long as merging a weight it takes to quantise it (the same).
_QUANTISE = 16.0
# Elements of a piece and pieces of the sample.
_CHUNK, _SAMPLE_CHUNKS = 1_000_000, 24
# Bytes a second that a laptop's disk writes, and seconds until the first byte.
_DISK, _START = 400_000_000, 4.0


@dataclass(frozen=True, slots=True)
class ConversionEstimate:
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


def estimate_conversion(
    kind: str, base: Path, out: Path, *, adapters: Adapters = (), precision: str | None = None
) -> ConversionEstimate:
    """What `kind` ("merge", "gguf", "onnx", "adapter") of that base will take, the preflight of the adapters included.

    Raises ConversionError and AdapterError as the conversion itself would, UsageError for an unknown precision.
    """
    import psutil

    adapters = adapter_sources(adapters)
    weights = open_weights(base, adapters)
    parameters = sum(info.elements for info in weights.tensors.values())
    stored = sum(info.nbytes for info in weights.tensors.values())
    precision = precision or _stored_precision(weights)
    if kind == "adapter":
        parameters = sum(info.elements for source in adapters for info in Lora(source.path).tensors.values())
        precision = "f16"
    known = {
        "merge": {precision: stored * 8 / parameters},
        "gguf": _GGUF_BITS,
        "onnx": _ONNX_BITS,
        "adapter": {"f16": 16.0, "f32": 32.0},
    }[kind]
    if precision not in known:
        raise UsageError(f"{precision!r} is no precision of {kind}; choose one of {', '.join(known)}")
    output = int(parameters * known[precision] / 8)
    lossy = precision in QUANTISED_BITS or precision in ("int4", "int8")
    return ConversionEstimate(
        kind=kind,
        precision=precision,
        parameters=parameters,
        applied=applied_lines(weights),
        output_bytes=output,
        disk_bytes=bytes_needed(weights, precision) if kind == "gguf" else output,
        free_bytes=shutil.disk_usage(_nearest_existing(out)).free,
        memory_bytes=int(_MEMORY[kind]),
        available_bytes=psutil.virtual_memory().available,
        seconds=round(_seconds(weights, parameters, output, lossy), 1),
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
    largest = max(weights.tensors.values(), key=lambda info: info.elements)
    return _MERGED.get(largest.dtype, largest.dtype.lower())


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in path.parents if folder.exists())


def _seconds(weights: Checkpoint | Merged, parameters: int, output: int, lossy: bool) -> float:
    """Merge and cast some rows of a large tensor, as a conversion would, and take it from there."""
    touched = [info for name, info in weights.tensors.items() if isinstance(weights, Merged) and weights.touched(name)]
    info = max(touched or list(weights.tensors.values()), key=lambda info: info.elements)
    rows = info.shape[0] if info.shape else 1
    step = max(1, _CHUNK * rows // max(1, info.elements))
    starts = range(0, min(rows, step * _SAMPLE_CHUNKS), step)

    def cast(start: int) -> memoryview:
        return bytes_of(weights.read(info.name, slice(start, start + step)).float().half())

    cast(0)
    begun = time.perf_counter()
    done = sum(len(chunk) // 2 for chunk in compute_chunks(partial(cast, start) for start in starts))
    merging = (time.perf_counter() - begun) / max(1, done) * parameters
    return merging * (1 + (_QUANTISE if lossy else 0)) + output / _DISK + _START
