"""One writer at a time, and who it is."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edge.errors import KnowledgeError, StorageError
from edge.system.file_lock import acquire


class WriterLock:
    """The lock of one index, `index.lock` in its folder. Whoever holds it has written into it who they are."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "index.lock"

    @contextmanager
    def held(self, wait: float) -> Iterator[None]:
        """Wait up to `wait` seconds for the lock and keep it. Raises KnowledgeError, which names the holder,
        or StorageError where nothing can be written."""
        try:
            descriptor = acquire(self._path, wait)
        except TimeoutError:
            raise KnowledgeError(self._refusal()) from None
        except OSError as error:
            folder = self._path.parent
            if not folder.exists():
                raise KnowledgeError(
                    f"the index at {folder} was removed by another program; add to it again"
                ) from error
            raise StorageError(
                f"{self._path} cannot be written ({error.strerror}); make its folder writable or use another"
            ) from error
        try:
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
