"""One writer at a time: a lock on a file, which the operating system takes back from a process that dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edge.errors import KnowledgeError, StorageError

_PAUSE = 0.05
_BEYOND = 1 << 30
"""Where Windows locks a byte: what is written at the start of the file can still be read."""


class WriterLock:
    """The lock of one index, `index.lock` in its folder. Whoever holds it has written into it who they are."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "index.lock"

    @contextmanager
    def held(self, wait: float) -> Iterator[None]:
        """Wait up to `wait` seconds for the lock and keep it. Raises KnowledgeError, which names the holder,
        or StorageError where nothing can be written."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written ({error.strerror}); make its folder writable or use another"
            ) from error
        try:
            deadline = time.monotonic() + wait
            while not _take(descriptor):
                if time.monotonic() >= deadline:
                    raise KnowledgeError(self._refusal())
                time.sleep(_PAUSE)
            _write(descriptor, _myself())
            try:
                yield
            finally:
                _write(descriptor, b"")
        finally:
            os.close(descriptor)  # and with it the lock

    def _refusal(self) -> str:
        try:
            facts = json.loads(self._path.read_bytes())
            who = f"`{facts['command']}` (process {facts['pid']} on {facts['host']}, since {facts['since']})"
        except (OSError, ValueError, KeyError, TypeError):
            who = "another process"  # which has it only just now, or only just no more
        return f"the index at {self._path.parent} is being written by {who}; try again when it is done"


def _myself() -> bytes:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": command}
    return json.dumps(facts).encode()


def _write(descriptor: int, data: bytes) -> None:
    """For people only: a full disk is no reason to stop."""
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, data)
    except OSError:
        pass


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
