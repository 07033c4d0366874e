"""The header of a GGUF file: its settings and where its tensors lie. No weights are read.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edge.errors import ConversionError

# struct's letter by GGUF's value type; 8 is a string and 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """`kind` is ggml's name of the type ("Q4_K"); `shape` as torch has it; `start:end` are positions in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`settings` holds numbers, flags and strings; an array is only there as its length."""

    settings: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf_header(path: Path) -> GgufHeader:
    """Raises ConversionError for a file that is damaged or shorter than its header says."""
    from gguf.constants import GGML_QUANT_SIZES

    size = path.stat().st_size
    sizes = {int(kind): (kind.name, *block) for kind, block in GGML_QUANT_SIZES.items()}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data)
            if reader.take(4) != b"GGUF" or reader.number("I") not in (2, 3):
                raise ValueError("no GGUF of version 2 or 3")
            count, pairs = reader.number("Q"), reader.number("Q")
            settings = {reader.text(): reader.value(reader.number("I")) for _ in range(pairs)}
            raw = [_tensor(reader) for _ in range(count)]
            alignment = int(settings.get("general.alignment", 32))
            begin = -(-reader.position // alignment) * alignment
        tensors = {}
        for name, shape, number, offset in raw:
            kind, elements, width = sizes[number]
            start = begin + offset
            tensors[name] = GgufTensor(name, kind, shape, start, start + prod(shape) // elements * width)
    except (ValueError, KeyError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ConversionError(f"{path} is truncated or damaged ({size:,} bytes; {error}); convert it again") from error
    needed = max((tensor.end for tensor in tensors.values()), default=0)
    if needed > size:
        raise ConversionError(f"{path} is truncated: {size:,} bytes of {needed:,}; convert it again")
    return GgufHeader(settings, tensors)


def _tensor(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name = reader.text()
    shape = tuple(reader.number("Q") for _ in range(reader.number("I")))[::-1]
    return name, shape, reader.number("I"), reader.number("Q")


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        if self.position + count > len(self._data):
            raise ValueError("the header ends early")
        self.position += count
        return self._data[self.position - count : self.position]

    def number(self, letter: str) -> Any:
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter)))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.take(self.number("Q")).decode("utf-8", "replace")
        if kind == _ARRAY:
            return self._skipped_array()
        return self.number(_SCALARS[kind])

    def _skipped_array(self) -> int:
        kind, count = self.number("I"), self.number("Q")
        if kind == _STRING:
            for _ in range(count):
                self.take(self.number("Q"))
        elif kind == _ARRAY:
            for _ in range(count):
                self._skipped_array()
        else:
            self.take(count * struct.calcsize("<" + _SCALARS[kind]))
        return int(count)
