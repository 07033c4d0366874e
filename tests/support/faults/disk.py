"""What a power cut leaves of a folder, worked out from the record of the calls that wrote into it.

The model. The content of a file is safe when the file was synced after it was written; a name (made, renamed,
deleted) when its folder was synced afterwards. Folders themselves and files that were there before are safe. Of the
rest the cut leaves

- `lost`: nothing,
- `renamed`: all names but no content, as file systems do that write names first,
- `torn`: any sectors of 512 bytes of any writes, and the names up to any point (drawn from a seed).

SQLite's shared memory file is never written to a disk on purpose, and left out.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
MODELS = ("lost", "renamed", "torn")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call, as faulty_io.c records it."""

    kind: str
    inode: int
    offset: int
    length: int
    error: int
    path: str
    target: str
    data: bytes


def read_record(path: Path) -> Iterator[Operation]:
    raw = path.read_bytes()
    at = 0
    while at < len(raw):
        end = raw.index(b"\n", at)
        kind, *numbers = raw[at:end].decode().split()
        inode, offset, length, error, first, second, size = map(int, numbers)
        at = end + 1
        name, target = raw[at : at + first].decode(), raw[at + first : at + first + second].decode()
        at += first + second
        yield Operation(kind, inode, offset, length, error, name, target, raw[at : at + size])
        at += size


@dataclass(eq=False)
class _File:
    safe: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes at a position, and None for a truncation to it."""


class Disk:
    """A folder that is written to, call by call, and may lose its power after any of them."""

    def __init__(self, folder: Path) -> None:
        self._names: dict[str, _File] = {}
        self._inodes: dict[int, _File] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.endswith("-shm"):
                file = self._names[str(path)] = _File(path.read_bytes())
                self._inodes[path.stat().st_ino] = file
        self._safe_names = dict(self._names)
        self._pending_names: list[tuple[str, _File | None]] = []

    def apply(self, operation: Operation) -> None:
        path = operation.path
        if path.endswith("-shm") and operation.kind != "R":
            return
        if operation.kind == "C":
            self._name(path, _File())
            self._inodes[operation.inode] = self._names[path]
        elif operation.kind == "W":
            self._inodes[operation.inode].pending.append((operation.offset, operation.data))
        elif operation.kind == "T":
            self._inodes[operation.inode].pending.append((operation.offset, None))
        elif operation.kind == "U":
            self._name(path, None)
        elif operation.kind == "R":
            self._name(operation.target, self._names[path])
            self._name(path, None)
        elif operation.kind == "S" and operation.offset:
            self._sync_names(path)
        elif operation.kind == "S":
            file = self._inodes[operation.inode]
            file.safe, file.pending = _written(file.safe, file.pending), []

    def content(self) -> dict[str, bytes]:
        """Everything, as a process sees it and a kill leaves it."""
        return {name: _written(file.safe, file.pending) for name, file in self._names.items()}

    def power_cut(self, model: str, chance: random.Random) -> dict[str, bytes]:
        """What is on the disk when the power comes back."""
        if model == "renamed":
            return {name: file.safe for name, file in self._names.items()}
        if model == "lost":
            return {name: file.safe for name, file in self._safe_names.items()}
        names = dict(self._safe_names)
        for name, file in self._pending_names[: chance.randint(0, len(self._pending_names))]:
            _rename(names, name, file)
        return {name: _written(file.safe, _some(file.pending, chance)) for name, file in names.items()}

    def _name(self, name: str, file: _File | None) -> None:
        _rename(self._names, name, file)
        self._pending_names.append((name, file))

    def _sync_names(self, folder: str) -> None:
        waiting = []
        for name, file in self._pending_names:
            if os.path.dirname(name) == folder:
                _rename(self._safe_names, name, file)
            else:
                waiting.append((name, file))
        self._pending_names = waiting


def _rename(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def _some(writes: list[tuple[int, bytes | None]], chance: random.Random) -> list[tuple[int, bytes | None]]:
    """Any sectors of them, in their order: what a disk had written when it stopped."""
    kept: list[tuple[int, bytes | None]] = []
    for offset, data in writes:
        if data is None:
            kept += [(offset, None)] * chance.randint(0, 1)
            continue
        for at in range(-(offset % SECTOR), len(data), SECTOR):
            if chance.random() < 0.5:
                kept.append((offset + max(at, 0), data[max(at, 0) : at + SECTOR]))
    return kept


def _written(content: bytes, writes: list[tuple[int, bytes | None]]) -> bytes:
    if not writes:
        return content
    image = bytearray(content)
    for offset, data in writes:
        end = offset + len(data or b"")
        if len(image) < end or (data is None and len(image) < offset):
            image.extend(bytes(end - len(image)))
        if data is None:
            del image[offset:]
        else:
            image[offset:end] = data
    return bytes(image)


def put_down(files: dict[str, bytes], folder: Path) -> None:
    """Make the folder hold exactly these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
