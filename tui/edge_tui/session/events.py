"""What the session tells whoever draws it, as frozen records; nothing here knows a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from edge.types import ContextUsage, Prefill
from edge_index.records import AddProgress, AddReport
from edge_tui.history.records import Notice as Notice
from edge_tui.history.records import Turn
from edge_tui.rendering.sources import Checked, Source, Staleness

if TYPE_CHECKING:
    from edge.answer import Answer

Activity = Literal["answering", "adding", "adapting", "switching", "comparing"]
State = Literal["loading", "ready", "failed"] | Activity
End = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Speed:
    """What an answer cost. Seconds are wall clock from the question on; rates are tokens per second."""

    first_token: float | None = None
    rate: float | None = None
    used: int = 0
    limit: int = 0
    cached: int = 0
    tokens: int = 0
    """Of the answer."""
    restored: int = 0
    """Of the `cached` ones, from what was read at another time and kept."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is there, or `error` says why not. It comes from a thread of its own, between other events."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The evidence, before a token is generated; empty when the documents do not tell."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Prefilling:
    prefill: Prefill


@dataclass(frozen=True, slots=True)
class FurtherPassages:
    """What was read does not tell: so many more passages are read before anything is said."""

    passages: int

    def __str__(self) -> str:
        more = "one more passage" if self.passages == 1 else f"{self.passages} more passages"
        return f"What was read does not tell; reading {more}."


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of what the model thinks before its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of the answer, printable; `written` is how the model wrote it, for what is kept."""

    text: str
    written: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; `markdown` replaces the words that came piece by piece.

    `notes` are short sentences to stand below: the legend, what was left out, why it ended early. `checked` are the
    sentences of an answer that was held against documents. `context_usage` is None where no model was asked. `thinking`
    is what was thought before the answer, `thought` how many seconds that took, 0 where it is not known any more.
    `answer` is the whole of it, None where it was stopped or no model was asked.
    """

    end: End
    markdown: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    speed: Speed
    checked: tuple[Checked, ...] = ()
    context_usage: ContextUsage | None = None
    thinking: str = ""
    thought: float = 0.0
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """Something went wrong; the message says what to do next."""

    message: str


@dataclass(frozen=True, slots=True)
class Adding:
    progress: AddProgress


@dataclass(frozen=True, slots=True)
class Added:
    """Documents were added; `stopped` when the person stopped it half-way."""

    report: AddReport
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """`count` documents at or below `paths` are no longer known."""

    count: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Of the documents these are no longer what was read."""

    stale: Mapping[str, Staleness]


@dataclass(frozen=True, slots=True)
class ModelImported:
    """A model of another program is one of the library now, by this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """From the next question on the adapter `name` answers, None: the plain base; `note` says so to people."""

    name: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Switched:
    """Another model or other documents answer from the next question on, or they do not after all; `note` says so."""

    note: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Another conversation takes the place of the one on the screen; `note` is a word about it."""

    turns: tuple[Turn, ...]
    note: str


@dataclass(frozen=True, slots=True)
class SideEvent:
    """Something that happened on one side of a comparison, 0 or 1, and the `seconds` since its question was asked."""

    side: int
    event: Event
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Idle:
    """A job of the session is over and nothing more of it will come."""


Event = (
    Loaded | Found | Prefilling | FurtherPassages | Thinking | Words | Finished | Error | Adding | Added | Removed
    | Surveyed | ModelImported | Adapted | Switched | SideEvent | Opened | Notice | Idle
)  # fmt: skip


@runtime_checkable
class EventWatcher(Protocol):
    """A screen above the conversation that wants to know what the worker did, answers excepted."""

    def see(self, event: Event) -> None: ...
