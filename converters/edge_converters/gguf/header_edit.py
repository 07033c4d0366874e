"""Other metadata for a GGUF file that is there already: its header is written anew, its tensors are copied as they are.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from edge.engines.llamacpp.gguf_header import ARRAY, STRING, GgufHeader, read_gguf_header

Value = str | int | Sequence[str]

_UINT32 = 4
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# Magic number, version and number of tensors; the number of keys, in 8 bytes, comes behind them.
_FIXED = 4 + 4 + 8


def rewrite_metadata(path: Path, changes: Mapping[str, Value]) -> None:
    """Give the GGUF file `path` other values for these keys, or new keys: texts, lists of texts, or whole numbers.

    The file is replaced when the new one is whole; both lie on the disk for a while. Raises ModelError for a damaged
    file, OSError as from writing.
    """
    header = read_gguf_header(path)
    alignment = header.settings.get("general.alignment", 32)
    # Each tensor's name, number of axes, axes, type and place.
    infos = sum(8 + len(name.encode()) + 4 + 8 * len(tensor.shape) + 12 for name, tensor in header.tensors.items())
    partial = path.with_name(f"{path.name}.rewritten")
    with path.open("rb") as old, partial.open("wb") as file:
        fixed = old.read(_FIXED)
        old.seek(_FIXED + 8)
        pairs = dict(_stored_pairs(old, header))
        pairs |= {key: _packed(key, value) for key, value in changes.items()}
        new = fixed + struct.pack("<Q", len(pairs)) + b"".join(pairs.values()) + old.read(infos)
        file.write(new + bytes(-len(new) % alignment))
        old.seek(-old.tell() % alignment, os.SEEK_CUR)
        shutil.copyfileobj(old, file, 4 << 20)
    os.replace(partial, path)


def _stored_pairs(file: BinaryIO, header: GgufHeader) -> Iterator[tuple[str, bytes]]:
    """Every key with its bytes, key and type included, from where `file` stands."""
    for key, kind in header.value_types.items():
        start = file.tell()
        value = start + 8 + len(key.encode()) + 4
        if kind == ARRAY:
            end = header.arrays[key].end
        elif kind == STRING:
            file.seek(value)
            end = value + 8 + int(struct.unpack("<Q", file.read(8))[0])
        else:
            end = value + _SCALAR_BYTES[kind]
        file.seek(start)
        yield key, file.read(end - start)


def _packed(key: str, value: Value) -> bytes:
    """A key with its value as they stand in a header."""
    name = _text(key)
    if isinstance(value, int):
        return name + struct.pack("<II", _UINT32, value)
    if isinstance(value, str):
        return name + struct.pack("<I", STRING) + _text(value)
    return name + struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_text, value))


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data
