"""The header of a GGUF file: its settings and where its tensors lie. No weights are read and nothing in it is believed
before it was held against the size of the file, for llama.cpp aborts the process or allocates without end on some lies.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from edge.errors import ModelError, ModelNotFound

# struct's letter by GGUF's value type; 8 is a string and 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9

# ggml's types by their number: name, elements a block, bytes a block.
_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip

# More than any model has; llama.cpp compares every key and tensor with all the others.
_MAX_KEYS, _MAX_TENSORS, _MAX_STRINGS, _MAX_ALIGNMENT = 16_384, 65_536, 1 << 23, 1 << 16
_MAX_NAME, _MAX_DIMENSIONS = 63, 4


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """`kind` is ggml's name of the type ("Q4_K"); `shape` as torch has it; `start:end` are positions in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array setting that was not read: `start:end` are its positions in the file, `kind` GGUF's value type."""

    kind: int
    count: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`settings` holds numbers, flags and strings, `value_types` their value types; `arrays` says where the arrays
    are."""

    path: Path
    size: int
    settings: dict[str, Any]
    value_types: dict[str, int]
    arrays: dict[str, GgufArray]
    tensors: dict[str, GgufTensor]

    def numbers(self, key: str) -> list[Any]:
        """The values of an array of numbers or flags; empty where there is none."""
        array = self.arrays.get(key)
        if array is None or array.kind not in _SCALARS:
            return []
        with self.path.open("rb") as file:
            file.seek(array.start)
            return list(struct.unpack(f"<{array.count}{_SCALARS[array.kind]}", file.read(array.end - array.start)))

    def strings(self, key: str) -> list[bytes]:
        """The values of an array of strings; empty where there is none."""
        array = self.arrays.get(key)
        if array is None or array.kind != STRING:
            return []
        with self.path.open("rb") as file:
            file.seek(array.start)
            data = file.read(array.end - array.start)
        found, at, length = [], 0, struct.Struct("<Q").unpack_from
        for _ in range(array.count):
            end = at + 8 + length(data, at)[0]
            found.append(data[at + 8 : end])
            at = end
        return found


class Lie(ValueError):
    """What a header says and cannot be."""


def refuse(path: Path, size: int, reason: object) -> NoReturn:
    raise ModelError(
        f"{path} is truncated or damaged ({size:,} bytes; {reason}); download or convert it again"
    ) from None


def read_gguf_header(path: Path) -> GgufHeader:
    """Raises ModelNotFound, or ModelError for a file that is damaged or shorter than its header says."""
    size = 0
    try:
        state = path.stat()
        size = state.st_size
        return _read_once(path, size, state.st_mtime_ns)
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path} is not there; `edge models list` shows what is") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        refuse(path, size, "a name in its header is no text")
    except (Lie, struct.error) as error:
        refuse(path, size, error if isinstance(error, Lie) else "the header ends early")


@lru_cache(maxsize=4)
def _read_once(path: Path, _size: int, _changed: int) -> GgufHeader:
    """A start looks at the same header several times: for its fit, its layers, its load."""
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != b"GGUF":
            raise ModelError(f"{path} is not a GGUF file (it begins with {magic!r}); download or convert it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(path, data)


def _read(path: Path, data: mmap.mmap) -> GgufHeader:
    reader = _Reader(data)
    reader.position = 4
    if reader.number("I") not in (2, 3):
        raise Lie("no GGUF of version 2 or 3")
    count, pairs = reader.number("Q"), reader.number("Q")
    # A key takes 13 bytes at least, a tensor 33.
    if pairs > min(_MAX_KEYS, len(data) // 13) or count > min(_MAX_TENSORS, len(data) // 33):
        raise Lie(f"{pairs:,} settings and {count:,} tensors are more than it can hold")
    header = GgufHeader(path, len(data), {}, {}, {}, {})
    for _ in range(pairs):
        _read_setting(reader, header)
    raw = [_read_tensor(reader) for _ in range(count)]
    alignment = header.settings.get("general.alignment", 32)
    if (
        header.value_types.get("general.alignment", 4) != 4
        or not 8 <= alignment <= _MAX_ALIGNMENT
        or alignment.bit_count() > 1
    ):
        raise Lie(f"an alignment of {alignment}")
    expected = -(-reader.position // alignment) * alignment
    first = expected
    for name, kind, shape, length, offset in raw:
        if name in header.tensors:
            raise Lie(f"two tensors are called {name!r}")
        start = first + offset
        if start != expected:
            raise Lie(f"{name} lies at {start:,} where {expected:,} is due")
        if start + length > len(data):
            raise Lie(f"{name} ends at {start + length:,}")
        header.tensors[name] = GgufTensor(name, kind, shape, start, start + length)
        expected = start + -(-length // alignment) * alignment
    return header


def _read_setting(reader: _Reader, header: GgufHeader) -> None:
    key = reader.name(1 << 16)
    if key in header.value_types:
        raise Lie(f"it says {key!r} twice")
    kind = header.value_types[key] = reader.number("I")
    if kind == STRING:
        text = reader.text()
        if b"\0" in text:  # where C would stop reading
            raise Lie(f"{key!r} with a zero in it")
        header.settings[key] = text.decode("utf-8", "replace")
    elif kind == ARRAY:
        header.arrays[key] = reader.array(distinct=key == "tokenizer.ggml.tokens")
    elif kind in _SCALARS:
        header.settings[key] = reader.number(_SCALARS[kind])
    else:
        raise Lie(f"{key!r} is of the unknown type {kind}")


def _read_tensor(reader: _Reader) -> tuple[str, str, tuple[int, ...], int, int]:
    """Name, type, shape, bytes and offset."""
    name = reader.name(_MAX_NAME)
    dimensions = reader.number("I")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise Lie(f"{name} has {dimensions:,} dimensions")
    shape = struct.unpack(f"<{dimensions}Q", reader.take(8 * dimensions))
    number, offset = reader.number("I"), reader.number("Q")
    if number not in _TYPES:
        raise Lie(f"{name} is of the unknown type {number}")
    kind, elements, width = _TYPES[number]
    if not all(shape) or shape[0] % elements:
        raise Lie(f"{name} of type {kind} has the shape {list(shape)}")
    return name, kind, shape[::-1], prod(shape) // elements * width, offset


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self.position:
            raise Lie("the header ends early")
        self.position += count
        return self._data[self.position - count : self.position]

    def number(self, letter: str) -> Any:
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter)))[0]

    def text(self) -> bytes:
        return self.take(self.number("Q"))

    def name(self, longest: int) -> str:
        length = self.number("Q")
        if not 1 <= length <= longest:
            raise Lie(f"a name of {length:,} bytes")
        name = self.take(length)
        if b"\0" in name:
            raise Lie("a name with a zero in it")
        return name.decode("utf-8")

    def array(self, *, distinct: bool) -> GgufArray:
        kind, count = self.number("I"), self.number("Q")
        start = self.position
        if kind == STRING:
            self._skip_strings(count, distinct)
        elif kind in _SCALARS:
            length = count * struct.calcsize("<" + _SCALARS[kind])
            if length > len(self._data) - start:
                raise Lie(f"an array of {count:,} values")
            self.position += length
        else:  # llama.cpp knows no array of arrays
            raise Lie(f"an array of the type {kind}")
        return GgufArray(kind, count, start, self.position)

    def _skip_strings(self, count: int, distinct: bool) -> None:
        data, at, end = self._data, self.position, len(self._data)
        if count > min(_MAX_STRINGS, (end - at) // 8):
            raise Lie(f"an array of {count:,} strings")
        length = struct.Struct("<Q").unpack_from
        seen: set[bytes] = set()
        empty = 0
        for _ in range(count):
            begin = at + 8
            at = begin + length(data, at)[0]
            if at > end:
                raise Lie("the header ends early")
            if distinct:
                if at > begin:
                    seen.add(data[begin:at])
                else:
                    empty += 1
        if distinct and len(seen) + empty != count:
            raise Lie("a token occurs twice")
        self.position = at
