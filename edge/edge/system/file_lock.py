"""A lock on a file, for one process at a time, which the operating system takes back from a process that dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PAUSE = 0.01
_BEYOND = 1 << 30
"""Where Windows locks a byte: what is written at the start of the file can still be read."""


@contextmanager
def file_lock(path: Path, wait: float, *, mode: int = 0o666) -> Iterator[None]:
    """Hold the lock on `path`. Raises as `acquire` does."""
    descriptor = acquire(path, wait, mode=mode)
    try:
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def acquire(path: Path, wait: float, *, mode: int = 0o666) -> int:
    """A descriptor of `path`, which is locked until it is closed; the file is made with the permissions `mode`.

    The lock belongs to the descriptor and not to the process: the threads of a process exclude each other, too, and
    whoever else opens and closes the file takes it from nobody. Raises TimeoutError where another one has it for
    longer than `wait` seconds, and OSError.
    """
    deadline = time.monotonic() + wait
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), mode)
        try:
            while not _take(descriptor):
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{path} is locked by another program")
                time.sleep(_PAUSE)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was deleted while we waited: others lock another file by now


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
