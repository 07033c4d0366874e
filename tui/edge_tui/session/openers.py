"""How models and indexes are opened that a person names: a model in a thread of its own, which nobody awaits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.model import Model
    from edge_tui.session.state import Knowledge

Stopped = Callable[[], bool]
"""Whether what is being done is to end."""

POLL_SECONDS = 0.05
"""Between two looks whether something is loaded, or no longer wanted."""


def _find_model(wanted: str) -> tuple[Path, Callable[[], Model]]:
    import edge
    from edge.library import find_model

    path = find_model(wanted)
    return path, partial(edge.load, path)


def _open_index(wanted: str) -> Knowledge:
    from edge.library import find_index
    from edge_index import Index

    return Index.open(find_index(wanted), create=False)


@dataclass(frozen=True, slots=True)
class Openers:
    """How what a person names, by name or path, is opened; both raise EdgeError.

    `model` finds one at once and returns its path and what loads it. `index` returns one that can be searched.
    `adapter` is by what name or path the first adapter was asked for.
    """

    model: Callable[[str], tuple[Path, Callable[[], Model]]] = _find_model
    index: Callable[[str], Knowledge] = _open_index
    adapter: str | None = None


def in_background(load: Callable[[], Model]) -> Future[Model]:
    """Load a model in a thread of its own, which nobody has to wait for when the process ends."""
    future: Future[Model] = Future()

    def run() -> None:
        try:
            future.set_result(load())
        except BaseException as error:  # whatever it was, it is raised where the model is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="model", daemon=True).start()
    return future


def load_unless(stopped: Stopped, load: Callable[[], Model]) -> Model | None:
    """The loaded model; None when it is no longer wanted, and freed then as soon as it is there."""
    future = in_background(load)
    while not future.done():
        if stopped():
            future.add_done_callback(_free)
            return None
        wait([future], timeout=POLL_SECONDS)
    return future.result()


def _free(future: Future[Model]) -> None:
    if future.exception() is None:
        future.result().close()
