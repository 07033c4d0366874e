"""What is kept of a chat, as frozen records; their field names are also the keys of `--json`. Nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Literal

from edge.errors import StorageError
from edge.types import ContextUsage, Message, Usage
from edge_tui.rendering.sources import Source

if TYPE_CHECKING:
    from edge.system.sqlite import Identity

Role = Literal["user", "assistant"]
State = Literal["complete", "partial", "cancelled", "failed"]
Mark = Literal["good", "bad"]

UNDONE = " undone"
"""Behind the time at which a message was replaced, when what it had replaced came back."""

_TITLE = 72


@dataclass(frozen=True, slots=True)
class ChatEntry:
    """A chat as lists show it. Times are UTC in ISO 8601; `index` is the folder of its documents.

    `model` and `adapter` are those of the latest answer; `system` is what was told in the place of the default.
    """

    id: int
    title: str
    created: str
    updated: str
    model: str
    adapter: str | None
    index: str | None
    system: str | None
    questions: int


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A question, or the answer that follows it.

    `text` is what was typed, or what the model said; `sent` is how it stands in the history that the model is given,
    passages included, None where it does not stand there; `system` is the system text that a question went out with.
    `shown` is an answer's Markdown with its marks. The first `found` of `sources` were the evidence that came before
    the words. A `partial` answer is being written at this moment, or was when its app ended.
    `thinking` is what the model thought before an answer. `id` is 0 until it is kept.
    """

    role: Role
    text: str
    created: str
    state: State = "complete"
    sent: str | None = None
    system: str | None = None
    model: str = ""
    adapter: str | None = None
    shown: str | None = None
    sources: tuple[Source, ...] = ()
    found: int = 0
    notes: tuple[str, ...] = ()
    usage: Usage | None = None
    context_usage: ContextUsage | None = None
    mark: Mark | None = None
    correction: str | None = None
    thinking: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what came of it."""

    question: ChatMessage
    answer: ChatMessage

    @property
    def approved(self) -> str | None:
        """The answer as it should have been: corrected, or marked good; None where nobody said so."""
        if self.answer.correction is not None:
            return self.answer.correction
        return self.answer.text if self.answer.mark == "good" and self.answer.text else None

    @property
    def history(self) -> tuple[Message, ...]:
        """The two messages as the model gets them with the next question; none where nothing was said."""
        if self.question.sent is None or not self.answer.text:
            return ()
        return Message("user", self.question.sent), Message("assistant", self.answer.text)


@dataclass(frozen=True, slots=True)
class Hit:
    """A chat that holds every word of a search; `role` and `excerpt` say where the best place of it is.

    `role` is "title" for a chat's name.
    """

    chat: ChatEntry
    role: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A word beside what is going on; `bad` when something went wrong that does not end it."""

    note: str
    bad: bool = False


class Damaged(StorageError):
    """The file is no database, or a part of it is broken; `found` tells it from one that is put in its place."""

    def __init__(self, message: str, found: Identity | None = None) -> None:
        super().__init__(message)
        self.found = found


class Gone(StorageError):
    """What was to be written to is not there any more: another process removed it."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def title_of(question: str) -> str:
    """What a chat is called until somebody gives it a name."""
    return shorten(question[:2000], _TITLE, placeholder=" …") or "…"
