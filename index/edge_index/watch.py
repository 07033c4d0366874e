"""Keeps an index up with folders and files that change, until it is told to stop."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.errors import KnowledgeError
from edge_index.index import Index
from edge_index.ingest.discovery import absolute
from edge_index.records import AddReport

_QUIET = 500
"""Milliseconds without a change after which what has changed is read, at the latest after ten times as many."""

_GLANCE = 1000
"""Milliseconds after which the watcher looks whether it is to stop."""


def watch(
    index: Index,
    paths: Sequence[Path | str],
    report: Callable[[AddReport | KnowledgeError], None],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    ignore: bool = True,
    stop: threading.Event | None = None,
) -> None:
    """Add `paths` at once and whenever something below them changes; `report` gets what came of it each time.

    It gets a KnowledgeError where another process writes into the index or there is nothing to read; the next
    change tries again. Ends when `stop` is set; a Ctrl-C comes out as KeyboardInterrupt. Other errors come out.
    """
    from watchfiles import watch as changes

    def update() -> None:
        try:
            report(index.add(paths, include=include, exclude=exclude, ignore=ignore))
        except KnowledgeError as error:
            report(error)

    own = str(absolute(index.path))

    def meant(_: object, path: str) -> bool:
        """Not what the index itself writes, when it lies in a watched folder."""
        return path != own and not path.startswith(own + os.sep)

    update()
    watching = changes(
        *[absolute(path) for path in paths],
        watch_filter=meant,
        debounce=10 * _QUIET,
        step=_QUIET,
        rust_timeout=_GLANCE,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=True,
    )
    first = True
    for found in watching:
        if found or first:  # the first time for what changed before the watcher was there
            update()
        first = False
