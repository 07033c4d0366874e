"""The places in documents that an answer stands on, as frozen records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge_tui.terminal import visible_name

Staleness = Literal["changed", "gone"]

STALE: Mapping[str, str] = {"changed": "the file has changed since", "gone": "the file is gone"}
"""For people, behind the name of a document."""


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
    stale: Staleness | None = None

    @property
    def name(self) -> str:
        """The last part of the document's path."""
        return visible_name(re.split(r"[/\\]", self.document)[-1])

    @property
    def place(self) -> str:
        """Page and character span, for people."""
        page = f"p. {self.page} · " if self.page is not None else ""
        return f"{page}{self.start}–{self.end}"


@dataclass(frozen=True, slots=True)
class Checked:
    """A sentence of an answer, in one row, and the numbers of the sources that carry it; none: the model's own."""

    text: str
    numbers: tuple[int, ...]
