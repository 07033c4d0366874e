"""ggml's own arithmetic: rows of numbers into its types and back.

The types: https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.h.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

from edge.engines.llamacpp.bindings import bindings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def row_bytes(kind: str, columns: int) -> int:
    """The bytes of a row in a type, by ggml's name ("Q4_K")."""
    from gguf import GGMLQuantizationType
    from gguf.constants import GGML_QUANT_SIZES

    elements, width = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return columns // elements * width


def quantised(
    rows: NDArray[np.float32], kind: str, importance: NDArray[np.float32] | None = None
) -> NDArray[np.uint8] | None:
    """[rows, columns] in a type: [rows, row_bytes]. `importance` has a weight for every column.

    None where the numbers are too large for the type.
    """
    import numpy as np

    number = _number(kind)
    rows = np.ascontiguousarray(rows, np.float32)
    out = np.empty((len(rows), row_bytes(kind, rows.shape[1])), np.uint8)
    weights = None if importance is None else importance.ctypes.data
    _library().ggml_quantize_chunk(number, rows.ctypes.data, out.ctypes.data, 0, *rows.shape, weights)
    return out if _library().ggml_validate_row_data(number, out.ctypes.data, out.nbytes) else None


def dequantised(data: bytes | memoryview, kind: str, rows: int, columns: int) -> NDArray[np.float32]:
    """The numbers that bytes in a type stand for: [rows, columns]."""
    import numpy as np

    if kind == "F32":
        return np.frombuffer(data, np.float32).reshape(rows, columns)
    if kind == "F16":
        return np.frombuffer(data, np.float16).astype(np.float32).reshape(rows, columns)
    if kind == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(rows, columns)
    source = np.frombuffer(data, np.uint8)
    out = np.empty((rows, columns), np.float32)
    # Q4_K is dequantize_row_q4_K
    function = getattr(_library(), f"dequantize_row_{kind[0].lower()}{kind[1:]}")
    function(ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(out.size))
    return out


def _number(kind: str) -> int:
    from gguf import GGMLQuantizationType

    return int(GGMLQuantizationType[kind])


@cache
def _library() -> Any:
    bindings()
    from llama_cpp._ggml import libggml

    rows, chunk = ctypes.c_int64, libggml.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, rows, rows, rows, ctypes.c_void_p]
    libggml.ggml_validate_row_data.restype = ctypes.c_bool
    libggml.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    return libggml
