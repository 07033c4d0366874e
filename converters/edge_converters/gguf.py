"""A Hugging Face model, with adapters merged as it is read -> one GGUF file, in a few hundred megabytes of memory."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError, MissingExtra, UsageError
from edge_converters.checkpoint import Checkpoint
from edge_converters.gguf_converter import run_converter
from edge_converters.gguf_file import Tensor, add_tensor_infos, encoded, kind_of, write_gguf
from edge_converters.gguf_model import Model, Planned, read_model
from edge_converters.gguf_quantise import BITS, check_importance, quantise, read_importance
from edge_converters.gguf_tokenizer import add_tokenizer
from edge_converters.merge import Merged, open_weights
from edge_converters.merge_deltas import block_rows
from edge_converters.pieces import Piece
from edge_converters.publish import AdapterSource, Export, Progress, published, weights_sha256, write_manifest

if TYPE_CHECKING:
    import gguf
    import torch

DIRECT = ("f32", "f16", "bf16", "q8_0")
"""Precisions that are written at once; the others are made by llama.cpp's quantiser from a file in 16 bits."""
PRECISIONS = (*DIRECT, *BITS)

_FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
_DTYPES = ("F32", "F16", "BF16", "F64")
_HEADER_ROOM = 32 << 20
_RAW_PIECE = 4 << 20
# So many blocks of the merge hide the cost of a piece.
_BLOCKS = 4


def to_gguf(
    base: Path,
    out: Path,
    *,
    adapters: Sequence[AdapterSource] = (),
    precision: str = "f16",
    imatrix: Path | None = None,
    converter: Path | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write the model of the folder `base`, with `adapters` merged in, as one GGUF file at `out`.

    `precision` is one of PRECISIONS. Those beyond DIRECT are quantised by llama.cpp from a temporary file beside
    `out` that keeps bfloat16 where the base has it and is float16 otherwise; `imatrix` is an importance matrix for
    it, as llama.cpp's llama-imatrix writes it. `converter` is a llama.cpp checkout whose convert_hf_to_gguf.py is
    run instead of edge's own conversion, for architectures that edge does not know.

    Raises ConversionError, AdapterError, StorageError, UsageError, MissingExtra; `out` appears whole or not at all.
    """
    started = time.monotonic()
    base, out, report = Path(base), Path(out), progress or (lambda stage, done, total: None)
    _check_arguments(out, precision, imatrix)
    weights = open_weights(base, adapters)
    importance = read_importance(imatrix) if imatrix else None
    first = precision if precision in DIRECT else _intermediate(weights)
    plan = None if converter else GGUFPlan(weights, first)
    if plan and importance:
        check_importance(importance, {tensor.name: tensor.shape for tensor in plan.tensors})
    base_sha256: dict[str, str] = {}
    hashing = _hash_meanwhile(base, base_sha256)
    with published(out, needs=bytes_needed(weights, precision)) as target:
        written = target if precision in DIRECT else target.with_name("unquantised.gguf")
        if plan:
            digest: str | None = plan.write(written, partial(report, "write"))
        else:
            digest = None
            run_converter(Path(converter or ""), weights, adapters, written, first, report)
        if written != target:
            quantise(written, target, precision, importance, partial(report, "quantise"))
            digest = None
    hashing.join()
    return write_manifest(
        out,
        "gguf",
        base=base,
        adapters=adapters,
        options={"precision": precision, "imatrix": imatrix, "converter": converter},
        applied=weights.applied if isinstance(weights, Merged) else None,
        started=started,
        sha256=digest,
        base_sha256=base_sha256 or None,
    )


def bytes_needed(weights: Checkpoint | Merged, precision: str) -> int:
    """How much room on the disk a conversion takes while it runs, temporary file included, rounded up."""
    elements = sum(info.elements for info in weights.tensors.values())
    bits = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5}
    needed = elements * bits[precision] / 8 if precision in bits else elements * (16 + BITS[precision]) / 8
    return int(needed) + _HEADER_ROOM


class GGUFPlan:
    """Everything that will stand in the file, known before a byte of it is written.

    Making one is the preflight: ConversionError for an architecture, tensor or tokeniser that cannot be converted.
    """

    def __init__(self, weights: Checkpoint | Merged, precision: str) -> None:
        try:
            import gguf
        except ImportError as error:
            raise MissingExtra("gguf", "convert") from error
        self.weights = weights
        model = read_model(weights.directory, weights.config)
        self.tensors = list(_tensors(weights, model, precision))
        self.writer: gguf.GGUFWriter = gguf.GGUFWriter(None, model.architecture.name)
        add_tensor_infos(self.writer, self.tensors)
        add_metadata(self.writer, weights.directory, gguf.GGUFType.MODEL)
        model.architecture.parameters(model, self.writer)
        self.writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES[precision]])
        self.writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        tokenizer = weights.tokenizer if isinstance(weights, Merged) else weights.directory
        add_tokenizer(self.writer, tokenizer, weights.config, model.lengths["vocab"])

    def write(self, path: Path, progress: Any) -> str:
        """Write the file, once; its SHA-256."""
        return write_gguf(path, self.writer, self.tensors, progress)


def _check_arguments(out: Path, precision: str, imatrix: Path | None) -> None:
    if precision not in PRECISIONS:
        raise UsageError(f"{precision!r} is no precision of a GGUF file; choose one of {', '.join(PRECISIONS)}")
    if imatrix is not None and precision in DIRECT:
        raise UsageError(
            f"an importance matrix does nothing for {precision}; leave it out or choose one of {', '.join(BITS)}"
        )
    if out.suffix != ".gguf":
        raise UsageError(f"{out} must end in .gguf, for engines tell the format by it")


def _intermediate(weights: Checkpoint | Merged) -> str:
    """The precision of the file that is quantised: what 16 bits keep is far finer than any quantised type, so only
    bfloat16's range is a reason for it."""
    widths = {info.dtype for info in weights.tensors.values() if len(info.shape) > 1}
    return "bf16" if "BF16" in widths else "f16"


def _hash_meanwhile(base: Path, result: dict[str, str]) -> threading.Thread:
    """Reads the base's files for the manifest while they are converted, so that they are read from the disk once."""

    def compute() -> None:
        # Where it fails the manifest computes the hashes, and reports what is wrong.
        with contextlib.suppress(OSError):
            result.update(weights_sha256(base))

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    return thread


def _tensors(weights: Checkpoint | Merged, model: Model, precision: str) -> Iterator[Tensor]:
    for name, values in model.generated().items():
        yield Tensor(name, tuple(values.shape), "F32", partial(_whole, values, name))
    for planned in model.plan(weights.tensors):
        info = weights.tensors[planned.source]
        if info.dtype not in _DTYPES:
            raise ConversionError(
                f"{planned.source} in {info.file} is of the type {info.dtype}; only float32, float16 and bfloat16 can "
                "be converted: take the original model, not a quantised one"
            )
        kind = kind_of(planned.name, planned.shape, precision)
        yield Tensor(planned.name, planned.shape, kind, partial(_pieces, weights, planned, kind))


def _whole(values: torch.Tensor, name: str) -> list[Piece]:
    return [partial(encoded, values, "F32", name)]


def _pieces(weights: Checkpoint | Merged, planned: Planned, kind: str) -> Iterator[Piece]:
    """What computes the bytes of one tensor, a few megabytes at a time."""
    name = planned.source
    touched = isinstance(weights, Merged) and weights.touched(name)
    if not touched and not planned.head and weights.tensors[name].dtype == kind:
        stored = weights.bytes_of(name)
        for start in range(0, len(stored), _RAW_PIECE):
            yield partial(memoryview.__getitem__, stored, slice(start, start + _RAW_PIECE))
        return
    step = _rows_of_piece(planned)
    for start in range(0, planned.shape[0], step):
        yield partial(_converted, weights, planned, slice(start, start + step), kind)


def _converted(weights: Checkpoint | Merged, planned: Planned, rows: slice, kind: str) -> memoryview:
    block = weights.read(planned.source, rows)
    return encoded(interleaved(block, planned.head) if planned.head else block, kind, planned.source)


def _rows_of_piece(planned: Planned) -> int:
    """Whole blocks of the merge, and whole heads where their rows change places."""
    block = block_rows(planned.shape)
    return math.lcm(block, planned.head) if planned.head else block * _BLOCKS


def interleaved(block: torch.Tensor, head: int) -> torch.Tensor:
    """Rows of whole heads in llama.cpp's order: the first of the first half, the first of the second half, …"""
    parted = block.reshape(-1, 2, head // 2, *block.shape[1:])
    return parted.transpose(1, 2).reshape(block.shape)


def add_metadata(writer: gguf.GGUFWriter, directory: Path, kind: str) -> None:
    """Name, size, licence and recommended sampling, from the model card, config.json and generation_config.json."""
    import gguf

    total, shared, expert, count = writer.get_total_parameter_count()
    try:
        metadata = gguf.Metadata.load(None, directory, None, total)
        settings = gguf.Metadata.load_generation_config(directory) or {}
    except Exception:  # a model card is free text with YAML in front; a strange one must not stop a conversion
        metadata, settings = gguf.Metadata(), {}
    if metadata.sampling_penalty_repeat is None:
        metadata.sampling_penalty_repeat = settings.get("repetition_penalty")
    metadata.name = metadata.name or directory.resolve().name
    if total > 0:
        metadata.size_label = metadata.size_label or gguf.size_label(total, shared, expert, count)
    writer.add_type(kind)
    metadata.set_gguf_meta_model(writer)
