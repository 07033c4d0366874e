"""Answers and passages as a person reads them: `print(answer)`, a notebook's cell, a line in a debugger."""

from __future__ import annotations

import html
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.types import Answer, Citation, Evidence, Passage

_LONGEST = 60
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What documents and models may say, and a terminal would obey."""


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text[: 4 * _LONGEST].split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def place(source: Passage | Evidence | Citation) -> str:
    """Where a passage or quote stands: "pump.pdf, p. 3, Seal"."""
    page = f"p. {source.page}" if source.page is not None else None
    return ", ".join(part for part in (PurePath(source.document).name, page, source.heading) if part)


def answer_text(answer: Answer) -> str:
    """The answer, each cited sentence with the number of its source, and the sources with their quotes below."""
    text, sources = _numbered(answer)
    lines = [f"[{number}] {place(source)}: “{' '.join(source.quote.split())}”" for number, source in sources]
    return _CONTROL.sub("\ufffd", "\n".join([text.strip(), *([""] if lines else []), *lines]))


def answer_markdown(answer: Answer) -> str:
    """The same as Markdown. What a document says is text there, and no markup."""
    text, sources = _numbered(answer)
    lines = [
        f"{number}. **{html.escape(place(source))}** — {html.escape(' '.join(source.quote.split()))}"
        for number, source in sources
    ]
    return _CONTROL.sub("\ufffd", "\n".join([html.escape(text.strip(), quote=False), *([""] if lines else []), *lines]))


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


def answer_repr(answer: Answer) -> str:
    told = "" if answer.told is None else f", told={answer.told:.2f}"
    return (
        f"Answer({shortened(answer.text)!r}, citations={len(answer.citations)}, "
        f"unsupported={len(answer.unsupported)}, passages={len(answer.passages)}, finish={answer.finish!r}{told})"
    )


def passage_repr(passage: Passage) -> str:
    metadata = f", metadata={dict(passage.metadata)!r}" if passage.metadata else ""
    return (
        f"Passage({shortened(passage.text)!r}, document={passage.document!r}, page={passage.page}, "
        f"span={passage.start}:{passage.end}, score={passage.score:.3f}{metadata})"
    )
