"""What happens to the documents of a session: files are added, read again, removed, looked after.

No Textual here; the iterators are consumed on the worker's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge.types import AddProgress, AddReport
from edge_tui.session.events import Added, Event, Removed, Surveyed, Trouble

if TYPE_CHECKING:
    from edge_tui.session.session import Session

Report = Callable[[AddProgress], None]


class _Stopped(Exception):
    """Thrown through `Knowledge.add` from its progress callback."""


def add(
    session: Session,
    paths: Sequence[str | Path],
    progress: Report | None,
    stopped: Callable[[], bool],
    *,
    again: bool = False,
) -> Iterator[Event]:
    """`Added`, or `Trouble`; what was finished before a stop is kept."""

    def step(now: AddProgress) -> None:
        if progress is not None:
            progress(now)
        if stopped():
            raise _Stopped

    with session.at("adding"):
        try:
            if stopped():
                raise _Stopped
            session.report = session.reach().add(paths, progress=step, again=again)
            session.look()
            yield Added(session.report)
        except _Stopped:
            session.look()
            yield Added(AddReport(), stopped=True)
        except EdgeError as error:
            yield Trouble(str(error))
        except OSError as error:
            where = error.filename or "A path"
            yield Trouble(f"{where} cannot be reached: {error.strerror}. Correct it, or see to its permissions.")


def remove(session: Session, paths: Sequence[str], stopped: Callable[[], bool]) -> Iterator[Event]:
    """Forget files, or all that lies in folders. `Removed`, after `Trouble` where not all could be."""
    gone = 0
    with session.at("adding"):
        try:
            for path in paths:
                if stopped():
                    break
                gone += session.reach().remove(path)
        except EdgeError as error:
            yield Trouble(str(error))
        session.look()
        yield Removed(gone, tuple(paths))


def survey(session: Session) -> Iterator[Event]:
    """`Surveyed`: which documents are no longer what was read."""
    try:
        stale = dict(session.reach().stale())
    except EdgeError as error:
        yield Trouble(str(error))
        return
    session.look()
    yield Surveyed(stale)
