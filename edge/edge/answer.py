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

    Every sentence of `text` is either the claim of one of `citations` or listed in `unsupported`. `print(answer)` shows
    the text with the numbers of its sources and these below it; a notebook shows the same as Markdown.

    Attributes:
        text: The answer; JSON where a `response_format` was given.
        evidence: Sentences of documents, found before a token was generated.
        citations: What sentences of the answer stand on.
        unsupported: The model's own words, which the passages do not carry.
        passages: What the model was given to read.
        usage: What it cost.
        context_usage: Where the context went, and what was left out.
        finish: Why it ended: "stop", "length", "cancelled".
        answerable: The probability that the documents answer the question; None where that was not judged.
        thinking: What the model thought before `text`: nothing of it was checked or is read again.
        parsed: The value of an answer in a `response_format` (an object of the pydantic class that was given); None
            where the documents do not tell.

    Examples:
        >>> answer = chat.ask("When is the pump due for maintenance?")
        >>> answer.evidence[0].quote
        'The pump is due for maintenance every ninety days.'
        >>> len(answer.citations) + len(answer.unsupported) > 0
        True
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

    Attributes:
        text: The next piece of the reply.
        evidence: First, and only from `Chat`.
        prefill: While the prompt is read.
        further_passages: Before any text: what was read does not tell, and so many more passages are read now. What was
            thought until then counts no more.
        finish: On the last step: why it ended.
        usage: On the last step: what it cost.
        answer: On the last step, and only from `Chat`.
        thinking: The next piece of what the model thinks first.

    Examples:
        >>> for delta in chat.stream("When is the pump due for maintenance?"):
        ...     if delta.evidence:
        ...         print(delta.evidence[0].quote)
        The pump is due for maintenance every ninety days.
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
