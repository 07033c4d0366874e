"""What happens to the documents of a session: files are added, read again, removed, looked after.

No Textual here; the iterators are consumed on the worker's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge_index.records import AddProgress, AddReport
from edge_tui.session.events import Added, Error, Event, Removed, Surveyed

if TYPE_CHECKING:
    from edge_tui.session.state import SessionState

Report = Callable[[AddProgress], None]


class _Stopped(Exception):
    """Thrown through `Knowledge.add` from its progress callback."""


def add(
    state: SessionState,
    paths: Sequence[str | Path],
    progress: Report | None,
    stopped: Callable[[], bool],
    *,
    again: bool = False,
) -> Iterator[Event]:
    """`Added`, or `Error`; what was finished before a stop is kept."""

    def step(now: AddProgress) -> None:
        if progress is not None:
            progress(now)
        if stopped():
            raise _Stopped

    with state.at("adding"):
        try:
            if stopped():
                raise _Stopped
            state.report = state.open_index().add(paths, progress=step, again=again)
            state.refresh_documents()
            yield Added(state.report)
        except _Stopped:
            state.refresh_documents()
            yield Added(AddReport(), stopped=True)
        except EdgeError as error:
            yield Error(str(error))
        except OSError as error:
            where = error.filename or "A path"
            yield Error(f"{where} cannot be reached: {error.strerror}. Correct it, or see to its permissions.")


def remove(state: SessionState, paths: Sequence[str], stopped: Callable[[], bool]) -> Iterator[Event]:
    """Forget files, or all that lies in folders. `Removed`, after `Error` where not all could be."""
    gone = 0
    with state.at("adding"):
        try:
            for path in paths:
                if stopped():
                    break
                gone += state.open_index().remove(path)
        except EdgeError as error:
            yield Error(str(error))
        state.refresh_documents()
        yield Removed(gone, tuple(paths))


def survey(state: SessionState) -> Iterator[Event]:
    """`Surveyed`: which documents are no longer what was read."""
    try:
        stale = dict(state.open_index().stale())
    except EdgeError as error:
        yield Error(str(error))
        return
    state.refresh_documents()
    yield Surveyed(stale)
