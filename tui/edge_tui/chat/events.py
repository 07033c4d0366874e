"""What the session tells whoever draws it, as frozen records; nothing here knows a terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edge.types import AddProgress, AddReport, Ledger, Prefill

State = Literal["loading", "ready", "answering", "adding", "adapting", "failed"]
End = Literal["stop", "length", "cancelled"]
Stale = Literal["changed", "gone"]

# Tab and newline stay. Every other control character could steer the terminal that shows it, and so could the two that
# turn the direction of what follows, letter by letter; the marks that Urdu or Arabic text needs are not among them.
_BLANK = re.compile(r"[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202d\u202e]")


def printable(text: str) -> str:
    """`text` with control characters replaced one by one, so that positions keep their meaning."""
    return _CONTROL.sub("\ufffd", _BLANK.sub(" ", text))


@dataclass(frozen=True, slots=True)
class Source:
    """A span of a document that an answer stands on, with the text around it.

    `number` counts from 1 within one answer. `before + quote + after` stand in the document in this order,
    literally but for control characters; `start:end` is the quote's place in the extracted text. `stale` tells that the
    file is no longer what was read.
    """

    number: int
    quote: str
    document: str
    page: int | None
    heading: str | None
    start: int
    end: int
    before: str = ""
    after: str = ""
    stale: Stale | None = None

    @property
    def name(self) -> str:
        """The last part of the document's path."""
        return printable(re.split(r"[/\\]", self.document)[-1])

    @property
    def place(self) -> str:
        """Page and character span, for people."""
        page = f"p. {self.page} · " if self.page is not None else ""
        return f"{page}{self.start}–{self.end}"


@dataclass(frozen=True, slots=True)
class Speed:
    """What an answer cost. Seconds are wall clock from the question on; rates are tokens per second."""

    first_token: float | None = None
    rate: float | None = None
    used: int = 0
    limit: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is there, or `trouble` says why not. It comes from a thread of its own, between other events."""

    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The evidence, before a token is generated; empty when the documents do not tell."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    prefill: Prefill


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; `markdown` replaces the words that came piece by piece.

    `notes` are short sentences to stand below: the legend, what was left out, why it ended early. `ledger` is None
    where no model was asked.
    """

    end: End
    markdown: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    speed: Speed
    ledger: Ledger | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
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
class Adapted:
    """From the next question on the adapter `name` answers, None: the plain base; `note` says so to people."""

    name: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Idle:
    """A job of the session is over and nothing more of it will come."""


Event = Loaded | Found | Reading | Words | Finished | Trouble | Adding | Added | Adapted | Idle
