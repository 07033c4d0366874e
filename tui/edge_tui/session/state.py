"""What a session has in hand (a model, an adapter, documents, the system text), and how one is exchanged for another.

No Textual here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from edge.errors import KnowledgeError, ModelError
from edge.types import Passage
from edge_index.records import AddProgress, AddReport, Document
from edge_tui.rendering.sources import Source, Staleness
from edge_tui.session.events import Activity, Speed, State
from edge_tui.session.source_context import in_context
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge.model import Model


class Knowledge(Protocol):
    """What the app needs of an index; `edge_index.Index` is one."""

    def search(self, query: str, k: int = 5) -> list[Passage]: ...

    def add(
        self,
        paths: Sequence[str | Path],
        *,
        progress: Callable[[AddProgress], None] | None = None,
        again: bool = False,
    ) -> AddReport: ...

    def remove(self, path: str | Path) -> int: ...

    def stale(self, documents: Iterable[str] | None = None) -> Mapping[str, Staleness]: ...

    def documents(self) -> list[Document]: ...

    def text(self, document: str) -> str: ...

    def close(self) -> None: ...


class SessionState:
    """The parts of a session. Exchanging them is for the worker's thread; any thread may look."""

    def __init__(
        self,
        adapter: str | None,
        system: str | None,
        open_knowledge: Callable[[], Knowledge] | None = None,
        *,
        think: bool = False,
    ) -> None:
        self._open_knowledge = open_knowledge
        self.adapter = adapter
        self._system = system
        self._think = think
        self._model: Future[Model] = Future()
        self._failure: ModelError | None = None
        self._loading: Literal["loading", "ready", "failed"] = "loading"
        self._chat: Chat | None = None
        self._knowledge: Knowledge | None = None
        self.model_name = ""
        self.documents: tuple[Document, ...] = ()
        self.speed = Speed()
        self.question = self.answer = ""
        """The last ones."""
        self.report: AddReport | None = None
        """What came of the last time that documents were added."""
        self._activity: Activity | None = None

    @property
    def state(self) -> State:
        """What the worker is at, else how far the model is."""
        return self._activity or self._loading

    @contextmanager
    def at(self, activity: Activity) -> Iterator[None]:
        """While the worker is at something, `state` says so."""
        self._activity = activity
        try:
            yield
        finally:
            self._activity = None

    def loaded(self) -> Model | None:
        """The model that answers, if one is there by now."""
        return self._model.result() if self._loading == "ready" else None

    def answering_model(self) -> Model:
        """The model that answers, waited for; raises what its loading raised."""
        return self._model.result()

    def wait_for_model(self, seconds: float) -> bool:
        """Whether it is known by then if there is a model."""
        return bool(wait([self._model], seconds).done)

    def set_model(self, model: Model) -> None:
        self._model = Future()
        self._failure = None
        self._begin_with(model)
        if self._chat is not None:
            self._chat.model = model

    def clear_model(self, failure: ModelError) -> None:
        self._model, self._failure, self._loading, self.model_name = Future(), failure, "failed", ""
        self._model.set_exception(failure)
        if self._chat is not None:
            self._chat.model = self._model

    def set_adapter(self, name: str | None) -> None:
        self.adapter = name
        if self._chat is not None:
            self._chat.adapter = name

    def set_knowledge(self, knowledge: Knowledge | None) -> None:
        """Answer from these documents from now on, None: from none; those before are closed."""
        old, self._knowledge, self.documents = self._knowledge, knowledge, ()
        if self._chat is not None:
            self._chat.knowledge = None
        if knowledge is None:
            self._open_knowledge = None
        self.refresh_documents()
        if old is not None:
            old.close()

    @property
    def index_path(self) -> Path | None:
        """Where the documents lie, as far as that is a folder."""
        path = getattr(self._knowledge, "path", None)
        return path if isinstance(path, Path) else None

    @property
    def system(self) -> str | None:
        """What the model is told first; None: edge's own words, "": nothing."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        self._system = text
        if self._chat is not None:
            self._chat.system = text

    @property
    def think(self) -> bool:
        """Whether the model thinks before it answers, where it can do without."""
        return self._think

    @think.setter
    def think(self, think: bool) -> None:
        self._think = think
        if self._chat is not None:
            self._chat.think = think

    def open_index(self) -> Knowledge:
        """The documents; what could not be opened at the start is tried again, for its cause may be gone."""
        if self._knowledge is None:
            if self._open_knowledge is None:
                raise KnowledgeError("this chat has no index for documents; /index NAME opens one")
            self._knowledge = self._open_knowledge()
            self.refresh_documents()
        return self._knowledge

    def refresh_documents(self) -> None:
        """See which documents there are; none at all must not silence the model."""
        if self._knowledge is not None and self._chat is not None:
            self.documents = tuple(self._knowledge.documents())
            self._chat.knowledge = self._knowledge if self.documents else None

    def in_context(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources with the text around them and whether it still stands so in the file."""
        return sources if self._knowledge is None else in_context(self._knowledge, sources)

    def _begin_with(self, model: Model) -> None:
        self.model_name = visible_name(model.name)
        self.speed = Speed(limit=model.context)
        self._loading = "ready"
        self._model.set_result(model)
