"""The logic of a chat without its drawing: loading, asking, stopping, adding documents, looking back.

No Textual here. The iterators that methods return are consumed on one worker thread, in turn; everything
else is called by the thread that draws.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

from edge.errors import EdgeError, ModelError
from edge.types import (
    Adapter,
    AddProgress,
    AddReport,
    Answer,
    Delta,
    Document,
    Passage,
    Sampling,
    Usage,
)
from edge_tui.chat.events import (
    Adapted,
    Added,
    Event,
    Finished,
    Found,
    Loaded,
    Reading,
    Source,
    Speed,
    Stale,
    State,
    Trouble,
    Words,
    printable,
)
from edge_tui.chat.passages import in_context
from edge_tui.chat.rendering import notes, number_sources, to_markdown

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge.model import Model

Doing = Literal["answering", "adding", "adapting"]

_WITHOUT_MODEL = "No model is loaded: these are the documents' own words"


class Knowledge(Protocol):
    """What the app needs of an index; `edge_index.Index` is one."""

    def search(self, query: str, k: int = 5) -> list[Passage]: ...

    def add(
        self, paths: Sequence[str | Path], *, progress: Callable[[AddProgress], None] | None = None
    ) -> AddReport: ...

    def documents(self) -> list[Document]: ...

    def text(self, document: str) -> str: ...

    def stale(self, documents: Iterable[str] | None = None) -> dict[str, Stale]: ...

    def close(self) -> None: ...


class _Stopped(Exception):
    """Thrown through `Knowledge.add` from its progress callback."""


class Session:
    """One conversation with one model about one set of documents.

    `open_model` is called once, in `load`, `open_knowledge` once, in `open`, which also adds `documents`.
    `adapter` is the name of the one that answers, None for the plain base; the first is one that `open_model` loads.
    """

    def __init__(
        self,
        open_model: Callable[[], Model],
        open_knowledge: Callable[[], Knowledge] | None = None,
        *,
        documents: Sequence[str | Path] = (),
        adapter: str | None = None,
        system: str | None = None,
        k: int = 5,
        prompt_passages: int = 1,
        certainty: float = 0.5,
        sampling: Sampling | None = None,
    ) -> None:
        self._open_model = open_model
        self._open_knowledge = open_knowledge
        self._first_documents = tuple(documents)
        self.adapter = adapter
        self._system = system
        self._k = k
        self._prompt_passages = prompt_passages
        self._certainty = certainty
        self._sampling = sampling or Sampling()
        self._model: Future[Model] = Future()
        self._failure: ModelError | None = None
        self._loading: Literal["loading", "ready", "failed"] = "loading"
        self._doing: Doing | None = None
        self._chat: Chat | None = None
        self._knowledge: Knowledge | None = None
        self._latest = 0
        self._stopped: dict[Doing, int] = {"answering": 0, "adding": 0, "adapting": 0}
        self.model_name = ""
        self.documents: tuple[Document, ...] = ()
        self.speed = Speed()
        self.answer = ""

    # What the drawing thread calls -------------------------------------------------------------------------

    def open(self, progress: Callable[[AddProgress], None] | None = None) -> Iterator[Event]:
        """Open the documents and add those given at the start; what cannot be opened is told, the rest works."""
        return self._open(progress, self._job("adding"))

    def ask(self, question: str) -> Iterator[Event]:
        """The events of one answer, from evidence to `Finished` or `Trouble`; `stop` ends it early."""
        return self._answer(question, self._job("answering"))

    def add(
        self, paths: Iterable[str | Path], progress: Callable[[AddProgress], None] | None = None
    ) -> Iterator[Event]:
        """Add files and folders to the documents; `progress` is called on the worker's thread."""
        return self._add(tuple(paths), progress, self._job("adding"))

    def adapt(self, wanted: str | None) -> Iterator[Event]:
        """Let another adapter answer from the next question on: a name, a path, or None for the plain base."""
        return self._adapt(wanted, self._job("adapting"))

    def adapters(self) -> tuple[str, ...]:
        """The names of those that can be asked for: loaded ones and those of the library."""
        from edge import library

        ready = self._model.done() and self._failure is None
        loaded = [adapter.name for adapter in self._model.result().adapters] if ready else []
        return tuple(dict.fromkeys([*loaded, *(entry.name for entry in library.adapters())]))

    def stop(self, *what: Doing) -> None:
        """End what was asked for so far, also what has not begun yet; everything unless told. Loading goes on."""
        for doing in what or self._stopped:
            self._stopped[doing] = self._latest

    def load(self, tell: Callable[[Event], None]) -> None:
        """Begin to load the model in a thread of its own; `tell` gets `Loaded` there when it is over.

        Questions need not wait: their evidence comes first anyway.
        """

        def run() -> None:
            try:
                model = self._open_model()
            except Exception as error:  # whatever it was, a question must not wait for ever
                known = isinstance(error, EdgeError)
                words = str(error) if known else f"The model cannot be loaded ({type(error).__name__}: {error})."
                self._failure = ModelError(words)
                self._loading = "failed"
                self._model.set_exception(self._failure)
                tell(Loaded(words))
            else:
                self.model_name = printable(model.name)
                self.speed = Speed(limit=model.context)
                self._loading = "ready"
                self._model.set_result(model)
                tell(Loaded())

        threading.Thread(target=run, name="edge-model", daemon=True).start()

    @property
    def state(self) -> State:
        """What the worker is at, else how far the model is."""
        return self._doing or self._loading

    # What the worker's thread runs -------------------------------------------------------------------------

    def _open(self, progress: Callable[[AddProgress], None] | None, stopped: Callable[[], bool]) -> Iterator[Event]:
        from edge.chat import Chat

        self._chat = Chat(
            self._model,
            system=self._system,
            adapter=self.adapter,
            k=self._k,
            prompt_passages=self._prompt_passages,
            certainty=self._certainty,
        )
        if self._open_knowledge is None:
            return
        try:
            self._knowledge = self._open_knowledge()
        except EdgeError as error:
            yield Trouble(str(error))
            return
        self._look()
        if self._first_documents:
            yield from self._add(self._first_documents, progress, stopped)

    def _look(self) -> None:
        """See which documents there are; none at all must not silence the model."""
        if self._knowledge is not None and self._chat is not None:
            self.documents = tuple(self._knowledge.documents())
            self._chat.knowledge = self._knowledge if self.documents else None

    def clear(self) -> Iterator[Event]:
        """Begin a new conversation; documents and model stay."""
        if self._chat is not None:
            self._chat.clear()
        self.answer = ""
        self.speed = Speed(limit=self.speed.limit)
        yield from ()

    def close(self) -> Iterator[Event]:
        """Free model and documents; nothing can be asked afterwards. A model that still loads is left alone."""
        self._chat = None
        if self._model.done() and self._failure is None:
            self._model.result().close()
        if self._knowledge is not None:
            self._knowledge.close()
            self._knowledge = None
        yield from ()

    def _adapt(self, wanted: str | None, stopped: Callable[[], bool]) -> Iterator[Event]:
        if stopped():
            return
        self._doing = "adapting"
        try:
            model = self._model.result()
            loaded = {adapter.name: adapter for adapter in model.adapters}
            adapter = None if wanted is None else loaded.get(wanted) or model.add_adapter(wanted)
        except EdgeError as error:
            yield Trouble(str(error))
            return
        finally:
            self._doing = None
        self.adapter = adapter.name if adapter else None
        if self._chat is not None:
            self._chat.adapter = self.adapter
        yield Adapted(self.adapter, _announced(adapter))

    def _job(self, doing: Doing) -> Callable[[], bool]:
        """A new job; the returned function tells whether it is to stop."""
        self._latest += 1
        number = self._latest
        return lambda: number <= self._stopped[doing]

    def _answer(self, question: str, stopped: Callable[[], bool]) -> Iterator[Event]:
        if self._chat is None or stopped():
            yield Finished("cancelled", "", (), ("Stopped",), self.speed)
            return
        self._doing = "answering"
        turn = _Turn(self._chat, self)
        try:
            yield from turn.run(question, self._sampling, stopped)
        except EdgeError as error:
            if error is not self._failure:
                yield Trouble(str(error))
            elif turn.sources:
                yield Finished("stop", "", turn.sources, (_WITHOUT_MODEL,), self.speed)
            else:
                yield Trouble(f"{error} Until then, documents that you /add can still be searched.")
        finally:
            self._doing = None

    def _add(
        self,
        paths: tuple[str | Path, ...],
        progress: Callable[[AddProgress], None] | None,
        stopped: Callable[[], bool],
    ) -> Iterator[Event]:
        if self._knowledge is None:
            yield Trouble("No documents can be added: this chat has no index; start it with --index DIR.")
            return

        def step(now: AddProgress) -> None:
            if progress is not None:
                progress(now)
            if stopped():
                raise _Stopped

        self._doing = "adding"
        try:
            if stopped():
                raise _Stopped
            yield Added(self._knowledge.add(paths, progress=step))
        except _Stopped:
            yield Added(AddReport(), stopped=True)
        except EdgeError as error:
            yield Trouble(str(error))
        finally:
            self._doing = None
            self._look()

    def in_context(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources with the text around them and whether it still stands so in the file. On the worker's thread."""
        return sources if self._knowledge is None else in_context(self._knowledge, sources)


def _announced(adapter: Adapter | None) -> str:
    if adapter is None:
        return "The plain base answers from now on."
    parts = [] if adapter.modules is None else [f"{adapter.modules} modules of the base are changed"]
    if adapter.ranks:
        parts.append(f"rank {', '.join(map(str, adapter.ranks))}")
    return f"{printable(adapter.name)} answers from now on" + (f": {', '.join(parts)}." if parts else ".")


class _Turn:
    """One question on its way through `Chat`: deltas in, events out, the clock running."""

    def __init__(self, chat: Chat, session: Session) -> None:
        self._chat = chat
        self._session = session
        self._started = perf_counter()
        self._first: float | None = None
        self._tokens = 0
        self.sources: tuple[Source, ...] = ()
        self._text: list[str] = []

    def run(self, question: str, sampling: Sampling, stopped: Callable[[], bool]) -> Iterator[Event]:
        stream = self._chat.stream(question, sampling=sampling)
        try:
            for delta in stream:
                yield from self._events(delta)
                if delta.answer is not None:
                    return
                if stopped():
                    break
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        self._session.answer = "".join(self._text)
        yield Finished("cancelled", printable(self._session.answer), self.sources, ("Stopped",), self._speed(None))

    def _events(self, delta: Delta) -> Iterator[Event]:
        if delta.evidence is not None:
            self.sources = number_sources(delta.evidence)
            yield Found(self.sources)
            if self.sources:
                self.sources = self._session.in_context(self.sources)
                yield Found(self.sources)
        if delta.prefill is not None:
            yield Reading(delta.prefill)
        if delta.text:
            if self._first is None:
                self._first = perf_counter() - self._started
            self._tokens += 1
            self._text.append(delta.text)
            self._session.speed = self._speed(None)
            yield Words(printable(delta.text))
        if delta.answer is not None:
            yield self._finish(delta.answer)

    def _finish(self, answer: Answer) -> Finished:
        sources = self._session.in_context(number_sources(answer.citations, self.sources))
        own = self._chat.knowledge is not None
        self._session.answer = answer.text
        self._session.speed = self._speed(answer.usage, answer.ledger.limit)
        return Finished(
            answer.finish,
            to_markdown(answer, sources, mark_own=own),
            sources,
            notes(answer, mark_own=own),
            self._session.speed,
            answer.ledger if answer.ledger.limit else None,
        )

    def _speed(self, usage: Usage | None, limit: int = 0) -> Speed:
        """Exact with the usage of a finished answer, from the clock until then."""
        limit = limit or self._session.speed.limit
        if usage is None:
            spent = perf_counter() - self._started - (self._first or 0.0)
            rate = (self._tokens - 1) / spent if self._tokens > 1 and spent > 0 else None
            before = self._session.speed
            return Speed(self._first, rate, before.used, limit, before.cached)
        seconds = usage.completion_seconds
        rate = usage.completion_tokens / seconds if seconds > 0 else None
        used = usage.prompt_tokens + usage.completion_tokens or self._session.speed.used
        return Speed(self._first, rate, used, limit, usage.cached_tokens)
