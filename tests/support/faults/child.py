"""The forked children of the fault harness, and what they do to an index under a fault."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from edge.errors import EdgeError
from edge_index import Index
from edge_index.ingest import embedding
from edge_index.records import AddProgress
from edge_index.vectors import graphs, search, vector_cache, vector_file
from faults.guards import remove_guards
from faults.story import QUERIES, Action, State, Step, lay
from index_fakes import OtherEncoder, WordEncoder

T = TypeVar("T")

SMALL = (
    (search, "SMALLEST", 20),
    (search, "TAIL", 8),
    (search, "_UNSAVED", 5),
    (search, "_BULK", 6),
    (vector_cache, "_BATCH", 7),
    (graphs, "PART", 30),
    (vector_file, "BLOCK", 8),
    (vector_file, "_STRIDE", 16),
    (embedding, "BATCH", 12),
)
"""Small numbers, so that few documents meet everything that many would: batches, blocks, several graphs."""
ENCODERS = {"WordEncoder": WordEncoder, "OtherEncoder": OtherEncoder}
PATIENCE = 30
"""Seconds after which a child counts as hung, and is ended by SIGALRM."""

WRITE, TRUNCATE, SYNC, CREATE, RENAME, UNLINK, MKDIR, OPEN = (1 << bit for bit in range(8))
EVERYTHING = WRITE | TRUNCATE | SYNC | CREATE | RENAME | UNLINK | MKDIR
RECORD, KILL_BEFORE, KILL_AFTER, KILL_HALF, FAIL_ONCE, FAIL_FROM, SHORT_ONCE, SHORT_FROM, FULL = range(9)


@dataclass(frozen=True)
class Fault:
    """What happens at the `at`-th call of these `kinds`; numbers as in faulty_io.c."""

    action: int = RECORD
    kinds: int = EVERYTHING
    at: int = 0
    error: int = 0


@dataclass(frozen=True)
class Place:
    """Where the children work. Calls are watched below `box`."""

    folder: Path

    @property
    def docs(self) -> Path:
        return self.folder / "docs"

    @property
    def box(self) -> Path:
        return self.folder / "box"

    @property
    def index(self) -> Path:
        return self.box / "index"

    @property
    def record(self) -> Path:
        return self.folder / "record"


def forked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run `work` in a child of this process; what it returned, with `signal` (0: none) and `error` (what it raised)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        os.close(reader)
        try:
            answer = work()
        except BaseException as error:  # the boundary of the process: everything is told to the parent
            place = traceback.extract_tb(error.__traceback__)[-1]
            answer = {"error": f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"}
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return {"error": "", "signal": os.WTERMSIG(status)}
    answer = json.loads(said) if said else {"error": f"ended without a word, status {status}"}
    return {"error": "", **answer, "signal": 0}


def prepare(place: Place, fault: Fault | None, *, exact: bool = False, with_data: bool = False) -> ctypes.CDLL:
    """Arm the shim (None: it only spares the syncs), and set the small numbers; with `exact` nothing but the exact
    scan, at its own numbers."""
    for module, name, number in () if exact else SMALL:
        assert hasattr(module, name), f"{name} is no more: look for its successor"
        setattr(module, name, number)
    connect = sqlite3.connect

    def connected(*arguments: Any, **rest: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **rest)
        connection.execute("PRAGMA wal_autocheckpoint=40")
        return connection

    setattr(sqlite3, "connect", connected)  # noqa: B010  # its type has overloads
    shim = ctypes.CDLL(None)
    target = place.record if fault else os.devnull
    record = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    fault = fault or Fault(kinds=0)
    at = ctypes.c_long(fault.at)
    shim.faulty_arm(os.fsencode(place.box), record, int(with_data), fault.action, fault.kinds, at, fault.error)
    return shim


def warm(folder: Path, files: State) -> None:
    """In the parent, so that no child has to: import and remember everything that an index needs."""
    import hnswlib  # noqa: F401  # only loaded
    import numpy.random  # noqa: F401  # only loaded

    lay(folder / "docs", files)
    with Index.open(folder / "index", encoder=WordEncoder()) as index:
        index.add([folder / "docs"])
        for query in QUERIES:
            index.search(query)
        index.check()


def encoder_of(place: Place) -> WordEncoder:
    """The encoder that the store says its vectors are of."""
    if (place.index / "index.sqlite").is_file():
        with closing(database_of(place)) as database:
            try:
                name = database.execute("SELECT value FROM meta WHERE key = 'encoder'").fetchone()
            except sqlite3.DatabaseError:  # not even begun, or damaged: what comes of that is the index's to tell
                name = None
        if name:
            return ENCODERS[name[0]]()
    return WordEncoder()


def database_of(place: Place) -> sqlite3.Connection:
    return sqlite3.connect(f"{(place.index / 'index.sqlite').as_uri()}?mode=ro", uri=True)


# Deeds -----------------------------------------------------------------------------------------------------------


def do(
    place: Place, step: Step, fault: Fault, guards: tuple[str, ...] = (), *, with_data: bool = False
) -> dict[str, Any]:
    """The deeds of a step under a fault, noted in the record: the number of `calls`, the errors that were `told`.

    A deed that ends with an EdgeError is tried once more in the same process, as a person would.
    """
    remove_guards(guards)
    shim = prepare(place, fault, with_data=with_data)
    reported: list[str] = []

    def note(text: str) -> None:
        shim.faulty_note(text.encode())

    encoder = ENCODERS[step.encoder]() if step.encoder else encoder_of(place)
    index = _twice(reported, lambda: Index.open(place.index, encoder=encoder))
    if index is not None:
        for number, action in enumerate(step.actions, 1):
            note(f"begin {number}")
            if _twice(reported, partial(_perform, index, place, action, note)) is None:
                break
            note(f"done {number}")
        index.close()
    return {"reported": reported, "calls": shim.faulty_disarm()}


def _twice(reported: list[str], work: Callable[[], T]) -> T | None:
    for _ in range(2):
        try:
            return work()
        except EdgeError as error:
            reported.append(f"{type(error).__name__}: {error}")
    return None


def _perform(index: Index, place: Place, action: Action, note: Callable[[str], None]) -> bool:
    """Raises EdgeError where the index says that it could not be done, wholly or for one file."""

    def progress(at: AddProgress) -> None:
        note(f"passages {at.passages}")

    if action.kind == "add":
        lay(place.docs, action.files)
        failed = index.add([place.docs], progress=progress).failed
        if failed:
            raise EdgeError(failed[0].reason)
    elif action.kind == "remove":
        for document in index.documents():
            if Path(document.path).name not in action.files:
                index.remove(document.path)
    elif action.kind == "rebuild":
        index.rebuild()
    else:
        index.search(QUERIES[0])
        index._vectors.finalize()
    return True
