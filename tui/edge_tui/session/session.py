"""The logic of a chat without its drawing: loading, asking, stopping, adding documents, looking back.

No Textual here. The iterators that methods return are consumed on one worker thread, in turn; everything
else is called by the thread that draws.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edge.errors import EdgeError, ModelError
from edge.types import RagOptions, Sampling
from edge_index.records import AddProgress
from edge_tui.session import document_jobs
from edge_tui.session.answer_job import AnswerJob
from edge_tui.session.chat_history import ChatHistory
from edge_tui.session.events import Activity, Error, Event, Finished, Loaded, Opened, Speed
from edge_tui.session.openers import Openers, Stopped
from edge_tui.session.picker_items import adapter_names
from edge_tui.session.prewarm import Prewarmer
from edge_tui.session.state import Knowledge, SessionState
from edge_tui.session.switch_jobs import SwitchJobs, describe_failure

if TYPE_CHECKING:
    from edge.model import Model

_WITHOUT_MODEL = "No model is loaded: these are the documents' own words"


class Session(SessionState):
    """One conversation with one model about one set of documents.

    `open_model` is called once, in `load`, `open_knowledge` once, in `open`, which also adds `documents`.
    `adapter` is the name of the one that answers, None for the plain base; the first is one that `open_model` loads.
    `openers` open what is switched to later. `rag`, `sampling` and `system` are those of `Chat`. `history` keeps
    what is said. `prewarm_bytes` may be kept of what `prewarm_next` reads.
    """

    def __init__(
        self,
        open_model: Callable[[], Model],
        open_knowledge: Callable[[], Knowledge] | None = None,
        *,
        documents: Sequence[str | Path] = (),
        adapter: str | None = None,
        system: str | None = None,
        rag: RagOptions | None = None,
        think: bool = False,
        sampling: Sampling | None = None,
        openers: Openers | None = None,
        history: ChatHistory | None = None,
        prewarm_bytes: int = 0,
    ) -> None:
        super().__init__(adapter, system, open_knowledge, think=think)
        self._open_model = open_model
        self._first_documents = tuple(documents)
        self._rag = rag or RagOptions()
        self.sampling = self.first_sampling = sampling or Sampling()
        self._latest = 0
        self._stopped: dict[Activity, int] = dict.fromkeys(get_args(Activity), 0)
        self.switch_jobs = SwitchJobs(self, openers or Openers(), open_model)
        self.history = history or ChatHistory()
        self.prewarmer = Prewarmer(prewarm_bytes)
        self._kept_at: tuple[int, str] | None = None

    # What the drawing thread calls -------------------------------------------------------------------------

    def open(self, progress: Callable[[AddProgress], None] | None = None) -> Iterator[Event]:
        """Open the documents and add those given at the start; what cannot be opened is told, the rest works."""
        return self._open(progress, self._job("adding"))

    def ask(self, question: str, *, instead_of: int | None = None) -> Iterator[Event]:
        """The events of one answer, from evidence to `Finished` or `Error`; `stop` ends it early.

        With `instead_of` the turns from that one on, counted from 1, give way to it.
        """
        self.question = question
        return self.history.record(question, self._answer(question, self._job("answering")), instead_of)

    def from_history(self, job: Iterator[Event]) -> Iterator[Event]:
        """What `history` does with kept chats. Where that opens another one, its last answer is the last answer."""
        self._keep_read()
        for event in job:
            if isinstance(event, Opened):
                last = event.turns[-1] if event.turns else None
                self.question, self.answer = (last.question.text, last.answer.text) if last else ("", "")
                self.speed = Speed(limit=self.speed.limit)
            yield event

    def add(
        self,
        paths: Iterable[str | Path],
        progress: Callable[[AddProgress], None] | None = None,
        *,
        again: bool = False,
    ) -> Iterator[Event]:
        """Add files and folders, with `again` also what did not change; `progress` is called on the worker's thread."""
        return document_jobs.add(self, tuple(paths), progress, self._job("adding"), again=again)

    def remove(self, paths: Iterable[str]) -> Iterator[Event]:
        """Take files, or all that lies in folders, out of the documents; the files stay where they are."""
        return document_jobs.remove(self, tuple(paths), self._job("adding"))

    def survey(self) -> Iterator[Event]:
        """Look which documents are no longer what was read."""
        return document_jobs.survey(self)

    def adapt(self, wanted: str | None) -> Iterator[Event]:
        """Let another adapter answer from the next question on: a name, a path, or None for the plain base."""
        return self.run("adapting", lambda stopped: self.switch_jobs.adapter(wanted, stopped))

    def adapters(self) -> tuple[str, ...]:
        """The names of those that can be asked for: loaded ones and those of the library."""
        return tuple(adapter_names(self.loaded()))

    def run(self, activity: Activity, job: Callable[[Stopped], Iterator[Event]]) -> Iterator[Event]:
        """The events of a job that changes or uses what this session has; it is told when it is to stop."""
        return self._run(activity, job, self._job(activity))

    def stop(self, *what: Activity) -> None:
        """End what was asked for so far, also what has not begun yet; everything unless told. Loading goes on."""
        for activity in what or self._stopped:
            self._stopped[activity] = self._latest

    def load(self, report: Callable[[Event], None]) -> None:
        """Begin to load the model in a thread of its own; `report` gets `Loaded` there when it is over.

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
                report(Loaded(words))
            else:
                self._begin_with(model)
                report(Loaded())

        threading.Thread(target=run, name="edge-model", daemon=True).start()

    # What the worker's thread runs -------------------------------------------------------------------------

    def _open(self, progress: Callable[[AddProgress], None] | None, stopped: Callable[[], bool]) -> Iterator[Event]:
        from edge.chat import Chat

        self._chat = Chat(
            self._model,
            system=self._system,
            adapter=self.adapter,
            rag=self._rag,
            think=self.think,
        )
        yield from self.from_history(self.history.attach(self._chat, lambda: (self.model_name, self.adapter)))
        if self._open_knowledge is None:
            return
        try:
            self.open_index()
        except EdgeError as error:
            yield Error(str(error))
            return
        if self._first_documents:
            yield from document_jobs.add(self, self._first_documents, progress, stopped)

    def clear(self) -> Iterator[Event]:
        """Begin a new conversation; documents and model stay."""
        self._keep_read()
        if self._chat is not None:
            self._chat.clear()
            self._chat.system = self._system
        self.question = self.answer = ""
        self.speed = Speed(limit=self.speed.limit)
        yield from self.history.clear()

    def prewarm_next(self, stopped: Stopped) -> bool:
        """While nobody asks, let the model read the next passage beforehand, unless `stopped`; whether there is more.

        What it has read of the conversation is kept before that; where that cannot be, it stays as it is.
        """
        model, chat = self.loaded(), self._chat
        if model is None or chat is None or self._knowledge is None:
            return False
        key = (id(model), self.adapter, self._system, self.think, self.documents)
        with suppress(EdgeError):
            if not self.prewarmer.wants(key, self._knowledge):
                return False
            stand = (len(chat.history), self.answer)
            if chat.history and stand != self._kept_at and not chat.save_kv_cache():
                return False
            self._kept_at = stand
            self.prewarmer.read(chat, stopped)
        return self.prewarmer.progress is not None

    def close(self) -> Iterator[Event]:
        """Free model and documents; nothing can be asked afterwards. A model that still loads is left alone."""
        self._keep_read()
        self._chat = None
        self.history.close()
        if self._model.done() and self._failure is None:
            self._model.result().close()
        if self._knowledge is not None:
            self._knowledge.close()
            self._knowledge = None
        yield from ()

    def _keep_read(self) -> None:
        """What the model has read of this conversation, so that going on with it later reads nothing again."""
        model = self.loaded()
        if model is not None and self._chat is not None and self.history.on and self.history.turns:
            with suppress(EdgeError):
                self._chat.save_kv_cache()

    def _run(self, activity: Activity, job: Callable[[Stopped], Iterator[Event]], stopped: Stopped) -> Iterator[Event]:
        with self.at(activity):
            try:
                yield from job(stopped)
            except EdgeError as error:
                yield describe_failure(error, self)

    def _job(self, activity: Activity) -> Callable[[], bool]:
        """A new job; the returned function tells whether it is to stop."""
        self._latest += 1
        number = self._latest
        return lambda: number <= self._stopped[activity]

    def _answer(self, question: str, stopped: Callable[[], bool]) -> Iterator[Event]:
        if self._chat is None or stopped():
            yield Finished("cancelled", "", (), ("Stopped",), self.speed)
            return
        job = AnswerJob(self._chat, self)
        with self.at("answering"):
            try:
                yield from job.run(question, self.sampling, stopped)
            except EdgeError as error:
                if error is not self._failure:
                    yield Error(str(error))
                elif job.sources:
                    yield Finished("stop", "", job.sources, (_WITHOUT_MODEL,), self.speed)
                else:
                    yield Error(f"{error} Until then, documents that you /add can still be searched.")

    # What comparing needs, on the worker's thread ----------------------------------------------------------

    def repeats(self, question: str) -> bool:
        """Whether the last turn asked the same."""
        history = self._chat.history if self._chat is not None else []
        return len(history) >= 2 and history[-2].content.endswith(question)

    def side_session(
        self, model: Model, question: str, sampling: Sampling, *, adapter: str | None, documents: bool
    ) -> Session:
        """A session for a question on the side, with or without documents, and with a copy of the conversation.

        Of that the last turn is left out if it asked the same: nobody is to read the answer there.
        """
        side = Session(
            lambda: model,
            adapter=adapter,
            system=self._system,
            rag=self._rag,
            think=self.think,
            sampling=sampling,
        )
        side._begin_with(model)
        list(side.open())
        if side._chat is not None and self._chat is not None:
            side._chat.history = self._chat.history[: -2 if self.repeats(question) else None]
            side.set_knowledge(self._knowledge if documents else None)
        return side

    def adopt(self, side: Session) -> None:
        """Go on with the conversation of a session that `side_session` made."""
        if side._chat is not None and self._chat is not None:
            self._chat.history = list(side._chat.history)
            self.question, self.answer, self.speed = side.question, side.answer, side.speed
