"""Writes a GGUF file whose tensors come in pieces.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The header is written by the `gguf` library; it
wants every tensor whole, so that the data go behind the header from here, one piece at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConversionError
from edge_converters.gguf.ggml import row_bytes
from edge_converters.weights.checkpoint import import_torch
from edge_converters.weights.tensor_chunks import ChunkSource, bytes_of, compute_chunks, is_finite

if TYPE_CHECKING:
    import gguf
    import torch

_ALIGNMENT = 32
# The largest float32 below a half.
_BELOW_HALF = 0.49999997


@dataclass(frozen=True, slots=True)
class Tensor:
    """`shape` as torch has it, `kind` by ggml's name ("F16"), `chunks` compute the bytes in order, from any thread."""

    name: str
    shape: tuple[int, ...]
    kind: str
    chunks: Callable[[], Iterable[ChunkSource]]

    @property
    def nbytes(self) -> int:
        return row_bytes(self.kind, self.shape[-1]) * prod(self.shape[:-1])


def kind_of(name: str, shape: tuple[int, ...], precision: str) -> str:
    """The type in which llama.cpp's converter writes a tensor: norms, biases and factors are always float32."""
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return "F32"
    if precision == "q8_0" and shape[-1] % 32:
        return "F16"
    return precision.upper()


def encoded(block: torch.Tensor, kind: str, source: str) -> memoryview:
    """The bytes of a block of whole rows in F32, F16, BF16 or Q8_0, rounded as llama.cpp's converter rounds.

    ConversionError, naming `source`, for numbers that are too large for the type.
    """
    return bytes_of(_q8_0(block.float().reshape(-1, 32)) if kind == "Q8_0" else rounded(block, kind, source))


def rounded(block: torch.Tensor, kind: str, source: str) -> torch.Tensor:
    """A block in F32, F16 or BF16. ConversionError as `encoded` raises it."""
    lib = import_torch()
    dtype = {"F32": lib.float32, "F16": lib.float16, "BF16": lib.bfloat16}[kind]
    result: torch.Tensor = block.to(dtype)
    if kind == "F16" and block.dtype != dtype and not is_finite(result):
        raise ConversionError(
            f"{source} has numbers beyond what float16 holds (65,504); choose the precision bf16 or f32, or q8_0"
        )
    return result


def _q8_0(blocks: torch.Tensor) -> torch.Tensor:
    """32 numbers a row as a float16 scale and 32 signed bytes, halves rounded away from zero."""
    lib = import_torch()
    low, high = lib.aminmax(blocks, dim=1, keepdim=True)
    # A block of zeros must not get the scale -0.
    scale = lib.maximum(high, -low).abs_() / 127
    quotients = blocks * lib.where(scale == 0, scale, 1 / scale)
    # What is cut off after the point rounds half away from zero, if nothing just below a half is lifted over it.
    quotients += lib.tensor(_BELOW_HALF).copysign(quotients)
    packed: torch.Tensor = lib.empty(len(blocks), 34, dtype=lib.uint8)
    packed[:, :2] = scale.half().view(lib.uint8)
    packed[:, 2:] = quotients.to(lib.int8).view(lib.uint8)
    return packed


def write_gguf(path: Path, writer: gguf.GGUFWriter, tensors: list[Tensor], progress: Callable[[int, int], None]) -> str:
    """Write the header that `writer` holds and the tensors to `path`; the file's SHA-256.

    Memory is a few pieces. `progress` is called with bytes done and of all. OSError as from writing.
    """
    digest = hashlib.sha256()
    total = sum(-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in tensors)
    written = 0
    _write_header(path, writer)
    # Hashing takes as long as writing, so one goes on beside the other.
    with path.open("rb+") as file, ThreadPoolExecutor(1) as hasher:
        digest.update(file.read())
        padding = bytes(-file.tell() % _ALIGNMENT)
        file.write(padding)
        hashing = hasher.submit(digest.update, padding)
        for chunk in compute_chunks(_in_order(tensors)):
            hashing.result()
            hashing = hasher.submit(digest.update, chunk)
            file.write(chunk)
            written += len(chunk)
            progress(written, total)
        hashing.result()
    return digest.hexdigest()


def add_tensor_infos(writer: gguf.GGUFWriter, tensors: Iterable[Tensor]) -> None:
    """Announce the tensors to `writer`, before it writes its header; any that it knew are forgotten."""
    import gguf
    import numpy as np

    writer.tensors = [{}]
    for tensor in tensors:
        kind = gguf.GGMLQuantizationType[tensor.kind]
        # The dtype decides only where `raw_dtype` is not given.
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, raw_dtype=kind)


def _write_header(path: Path, writer: gguf.GGUFWriter) -> None:
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _in_order(tensors: Iterable[Tensor]) -> Iterator[ChunkSource]:
    for tensor in tensors:
        yield from tensor.chunks()
        if padding := -tensor.nbytes % _ALIGNMENT:
            yield partial(bytes, padding)
