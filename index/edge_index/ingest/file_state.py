"""One file: whether it changed, and what stands in it now."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import DocumentError
from edge.system.sqlite import is_open
from edge_index.storage.store import FileState

_TRIES = 3
"""How often a file is read that changes while it is read."""

_LARGEST = 2**30
"""Bytes of the largest file that is read."""

# A file that was written so shortly before it was read may be written again without a newer time: file systems
# count in steps, the coarsest in two seconds. Its time is not believed then (git calls such entries racy).
_RACY_NS = 2_000_000_000
_UNKNOWN_TIME = -1


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes and the state to remember them by."""

    data: bytes
    state: FileState


def looks_unchanged(known: FileState | None, now: os.stat_result) -> bool:
    return known is not None and (known.bytes, known.mtime_ns) == (now.st_size, now.st_mtime_ns)


def read(path: Path) -> Content:
    """The whole file, as it was at one moment. Raises OSError, or DocumentError for what cannot be read so."""
    if is_open(path.stat()):  # by whatever name
        raise DocumentError(f"{path} is a database that edge itself has open; it holds no document, leave it out")
    for _ in range(_TRIES):
        # A pipe that took the file's place must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise DocumentError(f"{path} is no longer a file; take it out of the folder")
            if before.st_size > _LARGEST:
                raise DocumentError(f"{path} is larger than {_LARGEST >> 20} MiB; split it")
            data = file.read()
            after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            old_enough = after.st_mtime_ns < time.time_ns() - _RACY_NS
            written = after.st_mtime_ns if old_enough else _UNKNOWN_TIME
            return Content(data, FileState(hashlib.sha256(data).hexdigest(), len(data), written))
    raise DocumentError(f"{path} is being written all the while; add it again when that is done")


def stale(known: Mapping[str, FileState], paths: Iterable[str]) -> dict[str, Literal["changed", "gone"]]:
    """Of `paths` those whose file is no more what was read: "changed", or "gone" where it cannot be reached."""
    found: dict[str, Literal["changed", "gone"]] = {}
    for path in paths:
        try:
            now = os.stat(path)
            if looks_unchanged(known[path], now):
                continue
            if now.st_size != known[path].bytes or read(Path(path)).state.sha256 != known[path].sha256:
                found[path] = "changed"
        except (OSError, ValueError):  # ValueError: a name that no file can have
            found[path] = "gone"
        except DocumentError:
            found[path] = "changed"
    return found
