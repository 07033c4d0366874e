"""Changing who answers and from what while the app runs: another model, adapter or index, the conversation kept.

No Textual here. What cannot be opened changes nothing: what answered before goes on answering, and a message says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError, KnowledgeError, ModelError, ModelTooLarge
from edge.types import Adapter
from edge_tui.session.events import Adapted, Error, Event, Switched
from edge_tui.session.openers import POLL_SECONDS, Openers, Stopped, load_unless
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.model import Model
    from edge_tui.session.state import SessionState


class SwitchJobs:
    """The changes of one session; its iterators are consumed on the worker's thread, one at a time."""

    def __init__(self, state: SessionState, openers: Openers, again: Callable[[], Model]) -> None:
        self._state = state
        self._openers = openers
        self._again = again
        """Loads the model that answers now once more."""
        self._sources = {state.adapter: openers.adapter} if openers.adapter else {}

    def model(self, wanted: str, stopped: Stopped) -> Iterator[Event]:
        """Let another model answer; the adapter comes along where it fits."""
        state = self._state
        path, load = self._openers.model(wanted)
        old = wait_for_model(state, stopped)
        if old is not None and old.path is not None and old.path.resolve() == path.resolve():
            yield Switched(f"{visible_name(old.name)} answers already.")
            return
        try:
            new = None if stopped() else load_unless(stopped, load)
        except ModelTooLarge as error:
            if old is None or not _room_without(old, path):
                raise
            new = self._in_its_place(old, load, error)
        if new is None:
            yield Switched(f"Stopped; {_staying(old)}")
            return
        self._again = load
        note = self._set_model(new)
        if old is not None:
            old.close()
        yield Switched(note)

    def adapter(self, wanted: str | None, stopped: Stopped) -> Iterator[Event]:
        """Let another adapter answer, None: the plain base."""
        state = self._state
        wait_for_model(state, stopped)
        if stopped():
            return
        model = state.answering_model()
        adapter = None
        if wanted is not None:
            adapter = {each.name: each for each in model.adapters}.get(wanted) or model.add_adapter(wanted)
            self._sources.setdefault(adapter.name, wanted)
        state.set_adapter(adapter.name if adapter else None)
        yield Adapted(state.adapter, _announced(adapter))

    def index(self, wanted: str | None) -> Iterator[Event]:
        """Answer from the documents of another index, None: from none."""
        if wanted is None:
            self._state.set_knowledge(None)
            yield Switched("The model answers without documents from now on; /index NAME brings some back.")
            return
        knowledge = self._openers.index(wanted)
        try:
            count = len(knowledge.documents())
        except EdgeError:
            knowledge.close()
            raise
        self._state.set_knowledge(knowledge)
        name = visible_name(Path(wanted).expanduser().name or wanted)
        if count:
            yield Switched(f"Answers stand on {name} from now on: {count:,} document{'' if count == 1 else 's'}.")
        else:
            yield Switched(f"{name} has no documents yet; /add PATH adds some.")

    def other(self, wanted: str, stopped: Stopped) -> Model | None:
        """Another model beside the one that answers, for the caller to close; None when it was stopped."""
        return load_unless(stopped, self._openers.model(wanted)[1])

    def with_adapter(self, model: Model, name: str) -> None:
        """See to it that `model` has the adapter that is called `name` here. Raises AdapterError."""
        if name not in (adapter.name for adapter in model.adapters):
            model.add_adapter(self._sources.get(name) or name, name=name)

    def _set_model(self, new: Model) -> str:
        """The session's model from now on, and what is to be said of it."""
        state = self._state
        note = f"{visible_name(new.name)} answers from now on, with a context of {new.context:,} tokens."
        if state.adapter is not None:
            try:
                self.with_adapter(new, state.adapter)
            except EdgeError as error:
                note += f" The adapter {visible_name(state.adapter)} stays behind: {error}"
                state.set_adapter(None)
        state.set_model(new)
        return note

    def _in_its_place(self, old: Model, load: Callable[[], Model], reason: ModelTooLarge) -> Model:
        """Free `old` to make room for the new one. Where that cannot be loaded all the same, `old` comes back."""
        old.close()
        try:
            return load()
        except EdgeError as error:
            try:
                self._set_model(self._again())
            except EdgeError as worse:
                failure = ModelError(
                    f"{error} {visible_name(old.name)} had been freed to make room and cannot be loaded again: {worse} "
                    "/model chooses another one."
                )
                self._state.clear_model(failure)
                raise failure from reason
            raise


def describe_failure(error: EdgeError, state: SessionState) -> Error:
    """Why nothing was changed, and what that leaves."""
    if isinstance(error, KnowledgeError):
        return Error(f"{error}\nThe documents stay as they were.")
    old = state.loaded()
    return Error(f"{error}\n{_staying(old)}" if old is not None else str(error))


def wait_for_model(state: SessionState, stopped: Stopped) -> Model | None:
    """The model that answers now, waited for while it loads; None where there is none."""
    while not state.wait_for_model(POLL_SECONDS):
        if stopped():
            return None
    return state.loaded()


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
