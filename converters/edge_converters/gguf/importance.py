"""Importance matrices: how much every input of a weight matters, for llama.cpp's quantiser.

The formats: https://github.com/ggml-org/llama.cpp/tree/master/tools/imatrix.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Importance:
    """How much every input of a weight matters: a float32 per column, by the name of the GGUF tensor."""

    path: Path
    values: Mapping[str, NDArray[np.float32]]
    chunks: int


def read_importance(path: Path) -> Importance:
    """Both formats: GGUF, and the older .dat. Raises ConversionError when it is neither."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        found = _from_gguf(path) if magic == b"GGUF" else _from_dat(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise ConversionError(f"{path} is no importance matrix or is damaged ({error}); make it again") from error
    if not found.values:
        raise ConversionError(f"{path} holds no importance matrix; make one with llama.cpp's llama-imatrix")
    return found


def check_importance(importance: Importance, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ConversionError unless every weight of the blocks has its values, and all values are as many as the columns.

    llama.cpp itself passes over a weight without values in silence.
    """
    for name, shape in shapes.items():
        values = importance.values.get(name)
        if len(shape) < 2 or (values is None and not name.startswith("blk.")):
            continue
        if values is None or len(values) != shape[-1]:
            found = "no values" if values is None else f"{len(values)} values"
            raise ConversionError(
                f"{importance.path} has {found} for {name}, which has {shape[-1]} columns: it was made for another "
                "model; make one for this model with llama.cpp's llama-imatrix"
            )


def _from_gguf(path: Path) -> Importance:
    """Sums of squared activations and how often they were added, a pair of tensors for every weight."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    values: dict[str, NDArray[np.float32]] = {}
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            weight = name.removesuffix(".in_sum2")
            counts = np.rint(tensors[f"{weight}.counts"]).astype(np.float32).reshape(-1, 1)
            per_expert = np.asarray(sums, dtype=np.float32).reshape(len(counts), -1)
            mean = np.divide(per_expert, counts, out=np.ones_like(per_expert), where=counts > 0)
            values[weight] = mean.reshape(-1).astype(np.float32)
    chunks = reader.get_field("imatrix.chunk_count")
    return Importance(path, values, int(chunks.contents()) if chunks else 0)


def _from_dat(path: Path) -> Importance:
    """Number of entries; for each: length and name, calls, number of values, values. All little-endian, 4 bytes."""
    import numpy as np

    data = path.read_bytes()
    position = 0

    def number() -> int:
        nonlocal position
        position += 4
        return int(struct.unpack_from("<i", data, position - 4)[0])

    values: dict[str, NDArray[np.float32]] = {}
    for _ in range(number()):
        length = number()
        name = data[position : position + length].decode("utf-8")
        position += length
        calls, count = number(), number()
        if count < 1 or position + 4 * count > len(data):
            raise ValueError("it ends in the middle of an entry")
        sums = np.frombuffer(data, "<f4", count, position)
        position += 4 * count
        values[name] = (sums / calls if calls > 0 else sums).astype(np.float32)
    return Importance(path, values, number() if position + 4 <= len(data) else 0)
