"""The tensors of a GGUF file beside the merged weights that they were made of."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.llamacpp.gguf_header import GgufTensor
from edge.errors import ConversionError
from edge_converters.gguf.ggml import dequantised, quantised
from edge_converters.lora.merge import Merged
from edge_converters.parity.export import read_header
from edge_converters.parity.tensors import Stored
from edge_converters.weights.checkpoint import Checkpoint, import_torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Hugging Face's Llama rotates the two halves of a head against each other, llama.cpp's neighbouring elements.
_INTERLEAVED = ("llama",)
_SUFFIXES = (".weight", ".bias")


def gguf_tensors(path: Path, weights: Checkpoint | Merged) -> list[Stored]:
    """Every tensor that has weights of the base behind it; factors that are computed are left out.

    Names come from llama.cpp's own map. Raises ConversionError when a weight of the base is in no tensor.
    """
    import gguf

    header = read_header(path)
    architecture = str(header.settings["general.architecture"])
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in numbers:
        return []
    layers = int(header.settings.get(f"{architecture}.block_count", 0))
    names = gguf.get_tensor_name_map(numbers[architecture], layers)
    file = _File(path)
    found = []
    for source in weights.tensors:
        name = names.get_name(source, try_suffixes=_SUFFIXES)
        tied = source == "lm_head.weight" and weights.config.get("tie_word_embeddings")
        if name is None or (name not in header.tensors and tied):
            continue
        if name not in header.tensors:
            raise ConversionError(f"{path} lacks {name}, which holds {source} of the base; convert it again")
        head = _head(header.settings, architecture, source)
        found.append(_stored(file, header.tensors[name], weights, source, head))
    return found


def _head(settings: Mapping[str, Any], architecture: str, source: str) -> int:
    """The length of the heads whose rows are interleaved, 0 where none are."""
    if architecture not in _INTERLEAVED or not (".q_proj." in source or ".k_proj." in source):
        return 0
    width, heads = settings[f"{architecture}.embedding_length"], settings[f"{architecture}.attention.head_count"]
    return int(settings.get(f"{architecture}.attention.key_length", width // heads))


def _stored(file: _File, tensor: GgufTensor, weights: Checkpoint | Merged, source: str, head: int) -> Stored:
    vector = len(tensor.shape) == 1
    rows, columns = (1, tensor.shape[0]) if vector else (tensor.shape[0], tensor.shape[1])
    shape = tuple(weights.tensors[source].shape)
    if shape != tensor.shape:
        raise ConversionError(f"{tensor.name} is {list(tensor.shape)} and {source} of the base is {list(shape)}")

    def true(start: int, stop: int) -> NDArray[np.float32]:
        torch = import_torch()
        if vector and not head:
            whole = weights.read(source).to(torch.float32).reshape(1, -1)
        elif not head:
            whole = weights.read(source, slice(start, stop)).to(torch.float32)
        else:
            first, last = start // head * head, -(-stop // head) * head
            span = slice(None) if vector else slice(first, last)
            block = weights.read(source, span).to(torch.float32)
            parted = block.reshape(-1, 2, head // 2, *block.shape[1:]).transpose(1, 2).reshape(block.shape)
            whole = parted.reshape(1, -1) if vector else parted[start - first : stop - first]
        values: NDArray[np.float32] = whole.contiguous().numpy()
        return values

    return Stored(
        tensor.name,
        rows,
        columns,
        lambda start, stop: file.rows(tensor, columns, start, stop),
        true,
        lambda values: _through(values, tensor.kind),
    )


class _File:
    """Rows of a GGUF file's tensors in float32, by ggml's own code."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def rows(self, tensor: GgufTensor, columns: int, start: int, stop: int) -> NDArray[np.float32]:
        width = (tensor.end - tensor.start) // (tensor.shape[0] if len(tensor.shape) > 1 else 1)
        data = self._map[tensor.start + start * width : tensor.start + stop * width]
        return dequantised(data, tensor.kind, stop - start, columns)


def _through(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """What is left of rows after plain quantisation to ggml's type `kind`."""
    import numpy as np

    packed = quantised(values, kind)
    # A type that cannot hold the row at all has no error to compare with.
    return np.zeros_like(values) if packed is None else dequantised(packed.data, kind, *values.shape)
