"""Changing who answers and from what while the app runs: another model, adapter or index, the conversation kept.

No Textual here. What cannot be opened changes nothing: what answered before goes on answering, and a message says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError, KnowledgeError, ModelError, ModelTooLarge
from edge.types import Adapter
from edge_tui.session.events import Adapted, Event, Switched, Trouble
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.model import Model
    from edge_tui.session.session import Session
    from edge_tui.session.state import Knowledge

Stopped = Callable[[], bool]
_LOOK = 0.05


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


class Switching:
    """The changes of one session; its iterators are consumed on the worker's thread, one at a time."""

    def __init__(self, session: Session, openers: Openers, again: Callable[[], Model]) -> None:
        self._session = session
        self._openers = openers
        self._again = again
        """Loads the model that answers now once more."""
        self._sources = {session.adapter: openers.adapter} if openers.adapter else {}

    def model(self, wanted: str, stopped: Stopped) -> Iterator[Event]:
        """Let another model answer; the adapter comes along where it fits."""
        session = self._session
        path, load = self._openers.model(wanted)
        old = present(session, stopped)
        if old is not None and old.path is not None and old.path.resolve() == path.resolve():
            yield Switched(f"{visible_name(old.name)} answers already.")
            return
        try:
            new = None if stopped() else loaded(load, stopped)
        except ModelTooLarge as error:
            if old is None or not _room_without(old, path):
                raise
            new = self._in_its_place(old, load, error)
        if new is None:
            yield Switched(f"Stopped; {_staying(old)}")
            return
        self._again = load
        note = self._take(new)
        if old is not None:
            old.close()
        yield Switched(note)

    def adapter(self, wanted: str | None, stopped: Stopped) -> Iterator[Event]:
        """Let another adapter answer, None: the plain base."""
        session = self._session
        present(session, stopped)
        if stopped():
            return
        model = session.answering_model()
        adapter = None
        if wanted is not None:
            adapter = {each.name: each for each in model.adapters}.get(wanted) or model.add_adapter(wanted)
            self._sources.setdefault(adapter.name, wanted)
        session.take_adapter(adapter.name if adapter else None)
        yield Adapted(session.adapter, _announced(adapter))

    def index(self, wanted: str | None) -> Iterator[Event]:
        """Answer from the documents of another index, None: from none."""
        if wanted is None:
            self._session.take_knowledge(None)
            yield Switched("The model answers without documents from now on; /index NAME brings some back.")
            return
        knowledge = self._openers.index(wanted)
        try:
            count = len(knowledge.documents())
        except EdgeError:
            knowledge.close()
            raise
        self._session.take_knowledge(knowledge)
        name = visible_name(Path(wanted).expanduser().name or wanted)
        if count:
            yield Switched(f"Answers stand on {name} from now on: {count:,} document{'' if count == 1 else 's'}.")
        else:
            yield Switched(f"{name} has no documents yet; /add PATH adds some.")

    def other(self, wanted: str, stopped: Stopped) -> Model | None:
        """Another model beside the one that answers, for the caller to close; None when it was stopped."""
        return loaded(self._openers.model(wanted)[1], stopped)

    def with_adapter(self, model: Model, name: str) -> None:
        """See to it that `model` has the adapter that is called `name` here. Raises AdapterError."""
        if name not in (adapter.name for adapter in model.adapters):
            model.add_adapter(self._sources.get(name) or name, name=name)

    def _take(self, new: Model) -> str:
        """The session's model from now on, and what is to be said of it."""
        session = self._session
        note = f"{visible_name(new.name)} answers from now on, with a context of {new.context:,} tokens."
        if session.adapter is not None:
            try:
                self.with_adapter(new, session.adapter)
            except EdgeError as error:
                note += f" The adapter {visible_name(session.adapter)} stays behind: {error}"
                session.take_adapter(None)
        session.take_model(new)
        return note

    def _in_its_place(self, old: Model, load: Callable[[], Model], reason: ModelTooLarge) -> Model:
        """Free `old` to make room for the new one. Where that cannot be loaded all the same, `old` comes back."""
        old.close()
        try:
            return load()
        except EdgeError as error:
            try:
                self._take(self._again())
            except EdgeError as worse:
                failure = ModelError(
                    f"{error} {visible_name(old.name)} had been freed to make room and cannot be loaded again: {worse} "
                    "/model chooses another one."
                )
                self._session.lose_model(failure)
                raise failure from reason
            raise


def told(error: EdgeError, session: Session) -> Trouble:
    """Why nothing was changed, and what that leaves."""
    if isinstance(error, KnowledgeError):
        return Trouble(f"{error}\nThe documents stay as they were.")
    old = session.loaded()
    return Trouble(f"{error}\n{_staying(old)}" if old is not None else str(error))


def present(session: Session, stopped: Stopped) -> Model | None:
    """The model that answers now, waited for while it loads; None where there is none."""
    while not session.wait_for_model(_LOOK):
        if stopped():
            return None
    return session.loaded()


def loaded(load: Callable[[], Model], stopped: Stopped) -> Model | None:
    """Load in a thread of its own, so that nobody has to wait for a model that is no longer wanted: None then."""
    from edge_tui.resources import in_background

    future = in_background(load)
    while not future.done():
        if stopped():
            future.add_done_callback(_free)
            return None
        wait([future], timeout=_LOOK)
    return future.result()


def _free(future: Future[Model]) -> None:
    if future.exception() is None:
        future.result().close()


def _room_without(old: Model, path: Path) -> bool:
    """Whether the model at `path` would fit once `old` is gone, and `old` could come back."""
    from edge.engines.memory_fit import fit_of

    if old.path is None or not old.path.exists():
        return False
    fit, held = fit_of(path), fit_of(old.path, context=old.context)
    # Weights of a GGUF file are mapped: what they take counts as free already.
    freed = held.needed if old.path.is_dir() else held.needed - held.weights
    return fit.needed <= fit.available + freed


def _staying(old: Model | None) -> str:
    return f"{visible_name(old.name)} goes on answering." if old is not None else "there is no model yet."


def _announced(adapter: Adapter | None) -> str:
    if adapter is None:
        return "The plain base answers from now on."
    parts = [] if adapter.modules is None else [f"{adapter.modules} modules of the base are changed"]
    if adapter.ranks:
        parts.append(f"rank {', '.join(map(str, adapter.ranks))}")
    return f"{visible_name(adapter.name)} answers from now on" + (f": {', '.join(parts)}." if parts else ".")
