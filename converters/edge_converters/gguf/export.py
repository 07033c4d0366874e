"""A Hugging Face model, with adapters merged as it is read -> one GGUF file, in a few hundred megabytes of memory."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError, MissingExtra, UsageError
from edge_converters.gguf.architectures import read_model
from edge_converters.gguf.converter import run_converter
from edge_converters.gguf.corrections import apply_token_rules
from edge_converters.gguf.file import Tensor, add_tensor_infos, encoded, kind_of, rounded, write_gguf
from edge_converters.gguf.ggml import quantised
from edge_converters.gguf.importance import Importance, check_importance, read_importance
from edge_converters.gguf.model import Model, Planned
from edge_converters.gguf.quantise import BITS, QuantPlan, quantise
from edge_converters.gguf.tokenizer import TokenizerFiles, add_tokenizer, read_vocabulary
from edge_converters.lora.merge import Merged, end_tokens, open_weights
from edge_converters.lora.merge_deltas import block_rows
from edge_converters.output import atomic_output, weights_sha256, write_manifest
from edge_converters.types import Adapters, Export, Progress, adapter_sources
from edge_converters.weights.checkpoint import Checkpoint
from edge_converters.weights.tensor_chunks import ChunkSource

if TYPE_CHECKING:
    import gguf
    import numpy as np
    import torch
    from numpy.typing import NDArray

DIRECT = ("f32", "f16", "bf16", "q8_0")
"""Precisions that need no search and treat all matrices alike; for the others llama.cpp's quantiser is asked."""
PRECISIONS = (*DIRECT, *BITS)

_DTYPES = ("F32", "F16", "BF16", "F64")
_HEADER_ROOM = 32 << 20
_RAW_CHUNK = 4 << 20
# So many blocks of the merge hide the cost of a piece.
_BLOCKS = 4


def export_gguf(
    base: Path,
    out: Path,
    *,
    adapters: Adapters = (),
    precision: str = "f16",
    imatrix: Path | None = None,
    converter: Path | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write the model of the folder `base`, with `adapters` merged in, as one GGUF file at `out`.

    `precision` is one of PRECISIONS. Those beyond DIRECT are what llama.cpp's quantiser makes of a file in bfloat16
    where the base has it and in float16 otherwise, bit for bit; `imatrix` is an importance matrix for it, as
    llama.cpp's llama-imatrix writes it. `converter` is a llama.cpp checkout whose convert_hf_to_gguf.py is
    run instead of edge's own conversion, for architectures that edge does not know.

    Raises ConversionError, AdapterError, StorageError, UsageError, MissingExtra; `out` appears whole or not at all.
    """
    started = time.monotonic()
    adapters = adapter_sources(adapters)
    base, out, report = Path(base), Path(out), progress or (lambda stage, done, total: None)
    _check_arguments(out, precision, imatrix)
    weights = open_weights(base, adapters)
    importance = read_importance(imatrix) if imatrix else None
    plan = None if converter else GGUFPlan(weights, precision, importance)
    base_sha256: dict[str, str] = {}
    hashing = _hash_meanwhile(base, base_sha256)
    with atomic_output(out, needs=bytes_needed(weights, precision, converter)) as target:
        if plan:
            digest: str | None = plan.write(target, partial(report, "write" if precision in DIRECT else "quantise"))
        else:
            digest = None
            first = _sixteen_bit_type(weights) if precision in BITS else precision
            written = target.with_name("unquantised.gguf") if precision in BITS else target
            run_converter(Path(converter or ""), weights, adapters, written, first, report)
            apply_token_rules(written, weights)
            if precision in BITS:
                quantise(written, target, precision, importance, partial(report, "quantise"))
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


def bytes_needed(weights: Checkpoint | Merged, precision: str, converter: Path | None = None) -> int:
    """How much room on the disk a conversion takes while it runs, rounded up; what somebody else's converter leaves is
    corrected and, in 16 bits, quantised."""
    elements = sum(info.elements for info in weights.tensors.values())
    bits = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, **BITS}[precision]
    between = (16 if precision in BITS else bits) if converter else 0
    return int(elements * (bits + between) / 8) + _HEADER_ROOM


class GGUFPlan:
    """Everything that will stand in the file, known before a byte of it is written.

    Making one is the preflight: ConversionError for an architecture, tensor, tokeniser or importance matrix that
    cannot be used.
    """

    def __init__(self, weights: Checkpoint | Merged, precision: str, importance: Importance | None = None) -> None:
        try:
            import gguf
        except ImportError as error:
            raise MissingExtra("gguf", "convert") from error
        self._weights, self._precision, self._importance = weights, precision, importance
        self._model = read_model(weights.directory, weights.config)
        self._tensors = list(
            _tensors(weights, self._model, _sixteen_bit_type(weights) if precision in BITS else precision)
        )
        if importance:
            check_importance(importance, {tensor.name: tensor.shape for tensor in self._tensors})
        self._writer: gguf.GGUFWriter = gguf.GGUFWriter(None, self._model.architecture.name)
        add_tensor_infos(self._writer, self._tensors)
        directory = weights.tokenizer if isinstance(weights, Merged) else weights.directory
        tokenizer = TokenizerFiles(directory, weights.config)
        vocabulary = read_vocabulary(tokenizer, self._model.lengths["vocab"], self._model.architecture.name)
        add_metadata(self._writer, weights.directory, gguf.GGUFType.MODEL, vocabulary.engine_safe_name)
        self._model.architecture.parameters(self._model, self._writer)
        kind = "ALL" if precision == "f32" else "MOSTLY"
        self._writer.add_file_type(gguf.LlamaFileType[f"{kind}_{precision.upper()}"])
        self._writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        add_tokenizer(self._writer, tokenizer, vocabulary, end_tokens(weights))

    def write(self, path: Path, progress: Any) -> str:
        """Write the file, once; its SHA-256. A file or two of a few megabytes may be left beside it."""
        if self._precision in BITS:
            quant_plan = QuantPlan(self._miniature(path.with_name("miniature.gguf")), self._precision, self._importance)
            quant_plan.write_notes(self._writer)
            weights, through = self._weights, _sixteen_bit_type(self._weights)
            self._tensors = list(_tensors(weights, self._model, through, quant_plan.types, self._importance))
            add_tensor_infos(self._writer, self._tensors)
        return write_gguf(path, self._writer, self._tensors, progress)

    def _miniature(self, path: Path) -> Path:
        """A model with the same settings and the same tensors, of zeros and two rows each."""
        import gguf

        writer = gguf.GGUFWriter(None, self._model.architecture.name)
        self._model.architecture.parameters(self._model, writer)
        tensors = []
        for tensor in self._tensors:
            small = replace(tensor, shape=(*(2 for _ in tensor.shape[:-1]), tensor.shape[-1]))
            tensors.append(replace(small, chunks=partial(_zeros, small.nbytes)))
        add_tensor_infos(writer, tensors)
        write_gguf(path, writer, tensors, lambda done, total: None)
        return path


def _zeros(count: int) -> list[ChunkSource]:
    return [partial(bytes, count)]


def _check_arguments(out: Path, precision: str, imatrix: Path | None) -> None:
    if precision not in PRECISIONS:
        raise UsageError(f"{precision!r} is no precision of a GGUF file; choose one of {', '.join(PRECISIONS)}")
    if imatrix is not None and precision in DIRECT:
        raise UsageError(
            f"an importance matrix does nothing for {precision}; leave it out or choose one of {', '.join(BITS)}"
        )
    if out.suffix != ".gguf":
        raise UsageError(f"{out} must end in .gguf, for engines tell the format by it")


def _sixteen_bit_type(weights: Checkpoint | Merged) -> str:
    """The precision from which llama.cpp would quantise: what 16 bits keep is far finer than any quantised type, so
    only bfloat16's range is a reason for it."""
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


def _tensors(
    weights: Checkpoint | Merged,
    model: Model,
    precision: str,
    chosen: Mapping[str, str] | None = None,
    importance: Importance | None = None,
) -> Iterator[Tensor]:
    """The tensors in one of DIRECT, and from there in the types of `chosen`, by name."""
    types, values = chosen or {}, importance.values if importance else {}
    for name, factors in model.generated().items():
        yield Tensor(name, tuple(factors.shape), "F32", partial(_whole, factors, name))
    for planned in model.plan(weights.tensors):
        info = weights.tensors[planned.source]
        if info.dtype not in _DTYPES:
            raise ConversionError(
                f"{planned.source} in {info.file} is of the type {info.dtype}; only float32, float16 and bfloat16 can "
                "be converted: take the original model, not a quantised one"
            )
        through = kind_of(planned.name, planned.shape, precision)
        kind = types.get(planned.name, through)
        convert = partial(_encoded, through=through, kind=kind, importance=values.get(planned.name))
        yield Tensor(planned.name, planned.shape, kind, partial(_chunks, weights, planned, kind, convert))


def _whole(values: torch.Tensor, name: str) -> list[ChunkSource]:
    return [partial(encoded, values, "F32", name)]


def _chunks(
    weights: Checkpoint | Merged, planned: Planned, kind: str, convert: Callable[[torch.Tensor, str], memoryview]
) -> Iterator[ChunkSource]:
    """What computes the bytes of one tensor, a few megabytes at a time."""
    name = planned.source
    touched = isinstance(weights, Merged) and weights.touched(name)
    if not touched and not planned.head and weights.tensors[name].dtype == kind:
        stored = weights.bytes_of(name)
        for start in range(0, len(stored), _RAW_CHUNK):
            yield partial(memoryview.__getitem__, stored, slice(start, start + _RAW_CHUNK))
        return
    step = _rows_per_chunk(planned)
    for start in range(0, planned.shape[0], step):
        yield partial(_converted, weights, planned, slice(start, start + step), convert)


def _converted(
    weights: Checkpoint | Merged, planned: Planned, rows: slice, convert: Callable[[torch.Tensor, str], memoryview]
) -> memoryview:
    block = weights.read(planned.source, rows)
    return convert(interleaved(block, planned.head) if planned.head else block, planned.source)


def _encoded(
    block: torch.Tensor, source: str, *, through: str, kind: str, importance: NDArray[np.float32] | None
) -> memoryview:
    """A block in the type `kind`, by way of the type `through`, as if that had been written to a file first."""
    if kind == through:
        return encoded(block, kind, source)
    packed = quantised(rounded(block, through, source).float().numpy(), kind, importance)
    if packed is None:
        raise ConversionError(f"{source} has numbers beyond what {kind} holds; choose the precision bf16 or f32")
    return packed.data.cast("B")


def _rows_per_chunk(planned: Planned) -> int:
    """Whole blocks of the merge, and whole heads where their rows change places."""
    block = block_rows(planned.shape)
    return math.lcm(block, planned.head) if planned.head else block * _BLOCKS


def interleaved(block: torch.Tensor, head: int) -> torch.Tensor:
    """Rows of whole heads in llama.cpp's order: the first of the first half, the first of the second half, …"""
    parted = block.reshape(-1, 2, head // 2, *block.shape[1:])
    return parted.transpose(1, 2).reshape(block.shape)


def add_metadata(
    writer: gguf.GGUFWriter, directory: Path, kind: str, rename: Callable[[str], str] = lambda name: name
) -> None:
    """Name, size, licence and recommended sampling, from the model card, config.json and generation_config.json.

    `rename` is what becomes of a name that the engine would draw wrong conclusions from.
    """
    import gguf

    total, shared, expert, count = writer.get_total_parameter_count()
    try:
        metadata = gguf.Metadata.load(None, directory, None, total)
        settings = gguf.Metadata.load_generation_config(directory) or {}
    except Exception:  # a model card is free text with YAML in front; a strange one must not stop a conversion
        metadata, settings = gguf.Metadata(), {}
    if metadata.sampling_penalty_repeat is None:
        metadata.sampling_penalty_repeat = settings.get("repetition_penalty")
    metadata.name = rename(metadata.name or directory.resolve().name)
    if total > 0:
        metadata.size_label = metadata.size_label or gguf.size_label(total, shared, expert, count)
    writer.add_type(kind)
    metadata.set_gguf_meta_model(writer)
