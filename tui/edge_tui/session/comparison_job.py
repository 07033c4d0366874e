"""One question to two sides: base and adapter, with and without documents, one model and another.

No Textual here. One side answers after the other, each in a session of its own beside the conversation.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from edge import library
from edge.errors import EdgeError, ModelError, ModelTooLarge, UsageError
from edge_tui.session.events import Error, Event, Finished, Notice, SideEvent, Speed
from edge_tui.session.picker_items import PickerItem
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.model import Model
    from edge_tui.session.openers import Stopped
    from edge_tui.session.session import Session

BASE, THIS, DOCS, NODOCS = "base", "this", "docs", "nodocs"


@dataclass(frozen=True, slots=True)
class Side:
    """Who answers, and from what. `model` is the path of another one than the conversation's."""

    name: str
    adapter: str | None
    documents: bool
    model: str | None = None


def split(argument: str) -> tuple[str, str]:
    """("base|legal", the question) of a line; the first is empty where the line does not begin with two sides."""
    first, _, rest = argument.partition(" ")
    return (first, rest.strip()) if "|" in first else ("", argument.strip())


def sides(words: str, session: Session) -> tuple[Side, Side]:
    """What "base|legal" means in this conversation. Raises UsageError, which lists what there is."""
    left, _, right = words.partition("|")
    first, second = _side(left, session), _side(right, session)
    if replace(first, name="") == replace(second, name=""):
        raise UsageError(f"{visible_name(words)} is the same on both sides; choose two that differ")
    return first, second


def pairs(session: Session) -> list[PickerItem]:
    """What can be compared here, the likeliest wish first."""
    found = []
    adapters = session.adapters()
    for name in sorted(adapters, key=lambda name: name != session.adapter):
        found.append(PickerItem(f"{BASE}|{name}", f"base | {visible_name(name)}", "the plain base and the adapter"))
    if session.adapter is not None:
        this = f"{session.model_name} + {visible_name(session.adapter)}"
        for name in adapters:
            if name != session.adapter:
                found.append(PickerItem(f"{THIS}|{name}", f"{this} | {visible_name(name)}", "two adapters"))
    if session.documents:
        docs = PickerItem(f"{DOCS}|{NODOCS}", "with | without documents", f"{len(session.documents):,} in the index")
        found.insert(0 if session.adapter is None else 1, docs)
    for entry in library.models():
        if not _is_loaded(entry.path, session):
            name = visible_name(entry.name)
            found.append(
                PickerItem(f"{THIS}|{entry.name}", f"{session.model_name or 'this'} | {name}", "another model")
            )
    return found


def _side(word: str, session: Session) -> Side:
    documents = bool(session.documents)
    if word == BASE:
        return Side("base", None, documents)
    if word in (THIS, session.model_name):
        name = session.model_name + (f" + {visible_name(session.adapter)}" if session.adapter else "")
        return Side(name, session.adapter, documents)
    if word == NODOCS:
        return Side("without documents", session.adapter, documents=False)
    if word == DOCS:
        if not documents:
            raise UsageError("there are no documents to compare with; /add PATH adds some, /index NAME brings others")
        return Side("with documents", session.adapter, documents=True)
    if word in session.adapters():
        return Side(visible_name(word), word, documents)
    try:
        path = library.find_model(word or "?")
    except ModelError:
        adapters = ", ".join(session.adapters()) or "none"
        models = ", ".join(entry.name for entry in library.models()) or "none"
        raise UsageError(
            f"{visible_name(word) or 'nothing'} is no side to compare; write two of these with | between them: "
            f"{BASE}, {THIS}, {DOCS}, {NODOCS}, an adapter ({adapters}) or a model ({models})"
        ) from None
    other = None if _is_loaded(str(path), session) else str(path)
    return Side(visible_name(path.stem if path.is_file() else path.name), None, documents, other)


def _is_loaded(path: str, session: Session) -> bool:
    model = session.loaded()
    return model is not None and model.path is not None and model.path.resolve() == Path(path).resolve()


class ComparisonJob:
    """A question on its way through two sides; afterwards one of the answers can be kept."""

    def __init__(self, session: Session, question: str, two: tuple[Side, Side]) -> None:
        self._session = session
        self.question = question
        self.sides = two
        self._answered: dict[int, tuple[Session, Finished]] = {}
        self.repeated = False
        """Whether the conversation's last turn asked the same; an answer that is kept takes its place."""

    def run(self, stopped: Stopped) -> Iterator[Event]:
        """`SideEvent` events; each side ends with `Finished` or `Error`, also one that was stopped before its turn."""
        self.repeated = self._session.repeats(self.question)
        sampling = self._session.sampling
        if sampling.temperature > 0 and sampling.seed is None:  # else chance would be compared, not the sides
            sampling = replace(sampling, seed=random.randrange(2**31))
        for number, side in enumerate(self.sides):
            other: Model | None = None
            try:
                model = other = self._other(side, stopped)
                if model is None and not stopped():
                    model = self._session.answering_model()
                if model is None or stopped():
                    yield SideEvent(number, Finished("cancelled", "", (), ("Stopped",), Speed()))
                    continue
                if side.adapter is not None:
                    self._session.switch_jobs.with_adapter(model, side.adapter)
                session = self._session.side_session(
                    model, self.question, sampling, adapter=side.adapter, documents=side.documents
                )
                yield from self._ask(number, session, stopped)
            except EdgeError as error:
                yield SideEvent(number, Error(str(error)))
            finally:
                if other is not None:
                    other.close()

    def keep(self, number: int) -> Iterator[Event]:
        """Let the conversation go on with the answer of that side, which is kept as one of its own."""
        if number not in self._answered:
            return
        side, finished = self._answered[number]
        session = self._session

        def adopted() -> Iterator[Event]:
            session.adopt(side)
            yield finished

        turns = len(session.history.turns)
        instead = turns if self.repeated and turns else None
        for event in session.history.record(self.question, adopted(), instead):
            if isinstance(event, Notice):
                yield event

    def _other(self, side: Side, stopped: Stopped) -> Model | None:
        if side.model is None or _is_loaded(side.model, self._session):
            return None
        try:
            return self._session.switch_jobs.other(side.model, stopped)
        except ModelTooLarge as error:
            raise ModelError(
                f"{error}. Two models are compared side by side in memory; /model {side.name} changes to this one alone"
            ) from error

    def _ask(self, number: int, session: Session, stopped: Stopped) -> Iterator[Event]:
        began = perf_counter()
        for event in session.ask(self.question):
            if isinstance(event, Finished):
                self._answered[number] = session, event
            yield SideEvent(number, event, perf_counter() - began)
            if stopped():
                session.stop("answering")
