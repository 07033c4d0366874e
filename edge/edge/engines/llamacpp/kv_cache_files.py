"""KV caches that outlive a prompt: kept in memory and on disk, found by the tokens that they were computed from.

A state belongs to everything that its numbers depend on (`identity`) and to the tokens before it, in order; it is found
where a prompt begins with exactly these. A file holds a checksum over all of that and is believed only when it is
right: llama.cpp reads a damaged state without complaint.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_MAGIC = b"EDGEKV01"
_HEAD = struct.Struct("<8s32sQQ")
"""Magic, SHA-256 of what follows it, number of tokens, bytes of the state."""

_NAME = re.compile(r"(\d+)-[0-9a-f]{32}\.kv")
"""How many tokens, and a hash of them."""

_PART = ".part"
"""What a file ends with until it is whole."""

_ABANDONED = 3600.0
"""Seconds after which whoever writes a file is taken for dead."""

MEMORY = 256 << 20
"""Bytes of states that stay in memory, beside the one in use."""


class KVCacheFiles:
    """States of one engine in a folder that several processes may share.

    `budget` is the bytes that the folder may hold, all identities together; what was not used for the longest time
    goes first. Threads may share it. Nothing here raises: a state that cannot be written or read is none, and `error`
    says why.
    """

    def __init__(self, folder: Path, identity: bytes, budget: int, *, memory: int = MEMORY) -> None:
        self._folder = folder / hashlib.sha256(identity).hexdigest()[:16]
        self._root = folder
        self._identity = identity
        self._budget = budget
        self._memory_budget = memory
        self._in_memory: OrderedDict[str, bytes] = OrderedDict()
        self._known: dict[str, int] = {}
        self._seen = -1
        self._lock = threading.Lock()
        self.error: str | None = None

    def longest(self, tokens: Sequence[int], least: int) -> tuple[int, bytes] | None:
        """The state of the longest beginning of `tokens`, of `least` tokens or more: their number, and the state."""
        with self._lock:
            return self._longest(tokens, least)

    def __contains__(self, tokens: Sequence[int]) -> bool:
        with self._lock:
            self._refresh()
            return next(self._names(tokens, [len(tokens)])) in self._known

    def put(self, tokens: Sequence[int], state: bytes) -> bool:
        """Keep a state; whether it will be there after this process. Larger ones than the budget are not kept."""
        with self._lock:
            return self._put(tokens, state)

    # Inside -------------------------------------------------------------------------------------------------

    def _longest(self, tokens: Sequence[int], least: int) -> tuple[int, bytes] | None:
        self._refresh()
        lengths = sorted({length for length in self._known.values() if least <= length <= len(tokens)})
        named = dict(zip(lengths, self._names(tokens, lengths), strict=True))
        for length in reversed(lengths):
            name = named[length]
            if name in self._known and (state := self._get(name, tokens[:length])) is not None:
                return length, state
        return None

    def _put(self, tokens: Sequence[int], state: bytes) -> bool:
        name = next(self._names(tokens, [len(tokens)]))
        self._remember(name, state)
        self._known[name] = len(tokens)
        size = _HEAD.size + 4 * len(tokens) + len(state)
        if size > self._budget or not self._make_room(size):
            return False
        partial = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(prefix=".", suffix=_PART, dir=self._folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_HEAD.pack(_MAGIC, self._digest(tokens, state), len(tokens), len(state)))
                file.write(_packed(tokens))
                file.write(state)
            os.replace(partial, self._folder / name)
        except OSError as error:
            self.error = f"the KV cache of a prompt cannot be kept in {self._folder}: {error.strerror}"
            if partial is not None:
                with suppress(OSError):
                    os.unlink(partial)
            return False
        return True

    def _names(self, tokens: Sequence[int], lengths: Sequence[int]) -> Iterator[str]:
        """The file names of the first so many tokens, for rising lengths."""
        digest, at = hashlib.sha256(self._identity), 0
        for length in lengths:
            digest.update(struct.pack(f"<{length - at}i", *tokens[at:length]))
            at = length
            yield f"{length}-{digest.hexdigest()[:32]}.kv"

    def _refresh(self) -> None:
        """Take notice of what other processes have kept or thrown away."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed == self._seen:
                return
            names = os.listdir(self._folder)
        except OSError:
            names, changed = [], -1
        self._seen = changed
        named = map(_NAME.fullmatch, [*names, *self._in_memory])
        self._known = {found[0]: int(found[1]) for found in named if found}

    def _get(self, name: str, tokens: Sequence[int]) -> bytes | None:
        file = self._folder / name
        state = self._in_memory.get(name)
        if state is None:
            state = self._read(file, tokens)
            if state is None:
                self._known.pop(name, None)
                return None
            self._remember(name, state)
        else:
            self._in_memory.move_to_end(name)
        with suppress(OSError):
            os.utime(file)  # it was of use just now
        return state

    def _read(self, file: Path, tokens: Sequence[int]) -> bytes | None:
        """The state in a file; None, and the file is gone, where anything about it is not as it was written."""
        try:
            data = file.read_bytes()
        except OSError:
            return None
        if len(data) >= _HEAD.size:
            magic, digest, count, size = _HEAD.unpack_from(data)
            at = _HEAD.size + 4 * count
            if magic == _MAGIC and count == len(tokens) and len(data) == at + size:
                state = data[at:]
                if digest == self._digest(tokens, state) and data[_HEAD.size : at] == _packed(tokens):
                    return state
        with suppress(OSError):
            file.unlink()
        return None

    def _digest(self, tokens: Sequence[int], state: bytes) -> bytes:
        digest = hashlib.sha256(self._identity)
        digest.update(struct.pack("<QQ", len(tokens), len(state)))
        digest.update(_packed(tokens))
        digest.update(state)
        return digest.digest()

    def _remember(self, name: str, state: bytes) -> None:
        self._in_memory[name] = state
        self._in_memory.move_to_end(name)
        while sum(map(len, self._in_memory.values())) > self._memory_budget and len(self._in_memory) > 1:
            self._in_memory.popitem(last=False)

    def _make_room(self, size: int) -> bool:
        """Throw away what was not used for the longest time, until `size` bytes fit into the budget."""
        files = list(self._files())
        used = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
            if used + size <= self._budget:
                break
            with suppress(OSError):
                os.unlink(path)
                used -= stat.st_size
        return used + size <= self._budget

    def _files(self) -> Iterator[tuple[os.stat_result, str]]:
        """Of all identities; not those that another process is writing just now, or has just thrown away."""
        for folder in _entries(self._root):
            for entry in _entries(folder.path):
                with suppress(OSError):
                    state = entry.stat()
                    if not entry.name.endswith(_PART) or time.time() - state.st_mtime > _ABANDONED:
                        yield state, entry.path


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # it is a file, or gone
        return []


def _packed(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)
