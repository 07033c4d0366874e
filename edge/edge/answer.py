"""What a question came to, as records, and as a person reads it: `print(answer)`, a notebook's cell."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from edge.types import Citation, Claim, ContextUsage, Evidence, Finish, Passage, Prefill, Usage, shortened

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What documents and models may say, and a terminal would obey."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a question came to.

    `evidence` stood there before a token was generated. Every sentence of `text` is either the claim of one
    of `citations` or listed in `unsupported`: the model's own words, which the passages do not carry.
    `passages` are the ones the model was given. `answerable` is the probability, as far as it was judged, that the
    documents tell what was asked. `thinking` is what the model thought before `text`: nothing of it was checked or is
    read again. Where a `response_format` was given, `text` is JSON, `parsed` its value (an object of the pydantic class
    that was given), and the claims are the texts in it; None where the documents do not tell.
    """

    text: str
    evidence: tuple[Evidence, ...]
    citations: tuple[Citation, ...]
    unsupported: tuple[Claim, ...]
    passages: tuple[Passage, ...]
    usage: Usage
    context_usage: ContextUsage
    finish: Finish = "stop"
    answerable: float | None = None
    thinking: str = ""
    parsed: Any = field(default=None, hash=False)

    def __str__(self) -> str:
        """The text with the numbers of its sources, and below it these with their quotes."""
        text, sources = _numbered(self)
        lines = [f"[{number}] {place(source)}: “{' '.join(source.quote.split())}”" for number, source in sources]
        return _CONTROL.sub("\ufffd", "\n".join([text.strip(), *([""] if lines else []), *lines]))

    def __repr__(self) -> str:
        answerable = "" if self.answerable is None else f", answerable={self.answerable:.2f}"
        return (
            f"Answer({shortened(self.text)!r}, citations={len(self.citations)}, "
            f"unsupported={len(self.unsupported)}, passages={len(self.passages)}, finish={self.finish!r}{answerable})"
        )

    def _repr_markdown_(self) -> str:
        """For notebooks: the same as Markdown. What a document says is text there, and no markup."""
        text, sources = _numbered(self)
        lines = [
            f"{number}. **{html.escape(place(source))}** — {html.escape(' '.join(source.quote.split()))}"
            for number, source in sources
        ]
        shown = "\n".join([html.escape(text.strip(), quote=False), *([""] if lines else []), *lines])
        return _CONTROL.sub("\ufffd", shown)


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a stream. Every field but `text` and `thinking` is set only on the step where it becomes known.

    First `evidence` (only from `Chat`), then `prefill` while the prompt is read, then `thinking`, where the model
    thinks first, and `text` piece by piece, last `finish` and `usage`, and from `Chat` the whole `answer`.
    `further_passages`, before any text, says that the passages that were read do not tell, and that so many more are
    read now: what was thought until then counts no more.
    """

    text: str = ""
    evidence: tuple[Evidence, ...] | None = None
    prefill: Prefill | None = None
    further_passages: int | None = None
    finish: Finish | None = None
    usage: Usage | None = None
    answer: Answer | None = None
    thinking: str = ""


def place(source: Passage | Evidence | Citation) -> str:
    """Where a passage or quote stands: "pump.pdf, p. 3, Seal"."""
    page = f"p. {source.page}" if source.page is not None else None
    return ", ".join(part for part in (PurePath(source.document).name, page, source.heading) if part)


def _numbered(answer: Answer) -> tuple[str, list[tuple[int, Citation]]]:
    """The text with [1] behind the sentences that stand on a source, and those sources, a place once."""
    numbers: dict[tuple[str, int, int], int] = {}
    sources: list[tuple[int, Citation]] = []
    behind: dict[int, list[int]] = {}
    for citation in sorted(answer.citations, key=lambda one: one.claim.end):
        where = (citation.document, citation.start, citation.end)
        if where not in numbers:
            numbers[where] = len(numbers) + 1
            sources.append((numbers[where], citation))
        behind.setdefault(citation.claim.end, []).append(numbers[where])
    # JSON stays JSON.
    return answer.text if answer.parsed is not None else _inserted(answer.text, behind), sources


def _inserted(text: str, behind: dict[int, list[int]]) -> str:
    pieces, at = [], 0
    for end, marks in sorted(behind.items()):
        pieces += [text[at:end].rstrip(), *(f" [{mark}]" for mark in dict.fromkeys(marks))]
        at = end
    rest = text[at:]
    return "".join([*pieces, " " if pieces and rest and not rest[0].isspace() else "", rest])
