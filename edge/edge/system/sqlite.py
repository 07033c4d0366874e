"""SQLite files that several processes use at the same time: made, opened, written and told apart without harm.

The ways in which such a file is lost stand in https://sqlite.org/howtocorrupt.html. Three of them decide how it is
done here. Whoever closes any descriptor of a file drops all POSIX locks that the process has on it (2.2): nobody opens
one by hand, `is_open` tells which. A file that is renamed or deleted while others write to it (2.4) takes with it what
they write: each commit is followed by a look whether the file is still the one at that path. Before 3.51.3 a commit
beside a checkpoint can spoil a write-ahead log (https://sqlite.org/wal.html#walresetbug): one lock stands around both.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from edge.errors import FileReplaced, StorageError
from edge.system.file_lock import acquire

Identity = tuple[int, int]
"""Of a file, whatever it is called: its device and its number there."""

_LITTLE = 1 << 20
"""Bytes. A disk that has less is full."""

_open: Counter[Identity] = Counter()
_open_lock = threading.RLock()  # the garbage collector may come back to it in the same thread


class SharedFile:
    """A SQLite file, and beside it the lock `NAME.lock` under which it is made, committed to and renamed.

    `wait` is the seconds that the lock is waited for, `mode` the permissions of a new file. Raises TimeoutError where
    another process keeps the lock for longer, and StorageError for what the disk does.
    """

    def __init__(self, path: Path, *, wait: float, mode: int = 0o666) -> None:
        self.path = path
        self.identity: Identity | None = None
        """Of the file that was opened."""
        self._lock = path.with_name(f"{path.name}.lock")
        self._used = False
        self._mode = mode
        self._wait = wait
        self._files: dict[Path, Identity] = {}
        self._release: weakref.finalize[..., Any] | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process makes, commits to, checkpoints or renames the file meanwhile."""
        with self._translated():
            descriptor = acquire(self._lock, self._wait, mode=self._mode)
            self._used = True
        try:
            yield
        finally:
            os.close(descriptor)  # and with it the lock

    def create(self) -> None:
        """Make an empty file where there is none; call it inside `locked`. One that is there is not opened."""
        with self._translated(), suppress(FileExistsError):
            os.close(os.open(os.path.realpath(self.path), os.O_RDWR | os.O_CREAT | os.O_EXCL, self._mode))
        self.identity = identity_of(self.path)

    def opened(self) -> None:
        """The file and its log are open from now on, which a first look into it has made sure of."""
        paths = [self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm")]
        found = {path: identity for path in paths if (identity := identity_of(path)) is not None}
        self.identity = found.get(self.path)
        with _open_lock:
            _open.update(found.values())
        self._files = found
        # Also where nobody closes it: the log's number on the disk is soon another file's.
        self._release = weakref.finalize(self, _released, tuple(found.values()))
        self._release.atexit = False

    def close(self, connection: sqlite3.Connection) -> None:
        """The last one to leave puts the log into the file and deletes it, and here the lock as well."""
        with suppress(TimeoutError, StorageError):
            if self._used:
                with self.locked():
                    connection.close()
                    with suppress(OSError):
                        self._lock.unlink()  # who waits for it takes notice, see file_lock
        connection.close()
        self._files = {}
        if self._release is not None:
            self._release()

    @contextmanager
    def writing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Commit inside it; no lock is taken where a transaction is open already. Raises FileReplaced."""
        if connection.in_transaction:
            yield
            return
        with self.locked():
            yield
            for path, identity in self._files.items():
                if identity_of(path) != identity:
                    raise FileReplaced(
                        f"{path} was removed or replaced by another program while it was open, and what was written "
                        "last went with it; open it again"
                    )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise
        except OSError as error:
            raise StorageError(explain(self.path, error)[1]) from error


def _released(identities: tuple[Identity, ...]) -> None:
    with _open_lock:
        _open.subtract(identities)


def identity_of(path: Path) -> Identity | None:
    """None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_open(found: os.stat_result) -> bool:
    """Whether this process has the file open as a database: to open and close it by hand would drop its locks."""
    with _open_lock:
        return _open[found.st_dev, found.st_ino] > 0


Kind = Literal["busy", "full", "damaged", "foreign", "removed", "other"]


def explain(path: Path, error: sqlite3.Error | OSError) -> tuple[Kind, str]:
    """What went wrong with the file: its kind, and a sentence that says so and what to do.

    "damaged" is a file that is none of SQLite's or broken, "foreign" one whose tables are not the expected ones; what
    to do with these is left to the caller.
    """
    if isinstance(error, TimeoutError):
        return "busy", _BUSY.format(path=path)
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
        return ("full" if full else "other"), (_FULL if full else _UNUSABLE).format(
            path=path, error=error.strerror or error
        )
    kind, sentence = _judged(path, error)
    return kind, sentence.format(path=path, error=_named(error))


def _judged(path: Path, error: sqlite3.Error) -> tuple[Kind, str]:
    """The kind, and a sentence with places for `path` and `error`."""
    text, code = str(error), getattr(error, "sqlite_errorcode", 0)
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return "busy", _BUSY
        case sqlite3.SQLITE_FULL:
            return "full", _FULL
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return "damaged", "{path} is damaged ({error})"
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:
            return _refused(path, code)
    if isinstance(error, sqlite3.DataError):
        return "other", "something is too large for {path} ({error}); split the file that it comes from"
    if isinstance(error, sqlite3.OperationalError) and any(word in text for word in ("no such", "vtable", "malformed")):
        return "foreign", "{path} is damaged ({error})"
    return "other", "{path} cannot be used ({error})"


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction that it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _refused(path: Path, code: int) -> tuple[Kind, str]:
    """Why the operating system did not do what SQLite asked for: it only says that it did not."""
    if not path.exists() or code == sqlite3.SQLITE_READONLY_DBMOVED:
        return "removed", "{path} was removed by another program while it was open ({error}); open it again"
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < _LITTLE:
            return "full", _FULL
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return "other", (
            "the disk of {path} reports an error ({error}); copy the file to another disk, and look whether this one "
            "fails or a limit for your account is reached"
        )
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) and code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return "other", "{path} cannot be opened ({error}), though it may be: are too many files open? Try it again"
    return "other", _UNUSABLE


def _named(error: sqlite3.Error) -> str:
    """SQLite's words and, where they stand for many things, its name for this one."""
    name = getattr(error, "sqlite_errorname", "")
    named = name.startswith(("SQLITE_IOERR_", "SQLITE_CANTOPEN_", "SQLITE_READONLY_"))
    return f"{error}, {name}" if named else str(error)


_BUSY = "{path} is locked by another program; close the other one, or wait until it is done."
_FULL = "there is no room for {path} ({error}); free some space on that disk."
_UNUSABLE = "{path} cannot be used ({error}); make its folder writable, or move EDGE_HOME to one that is."
