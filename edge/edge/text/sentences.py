"""Sentence borders, in any language, as character spans. A thin face on `sentencex`."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WINDOW = 4000
"""Characters that sentencex sees at once: what it does with quotes and brackets grows with the square of their number.
A sentence that is longer is cut."""

_HEADING_LINE = re.compile(r"^#{1,6} [^\n]*$", re.MULTILINE)


def sentence_spans(text: str, language: str = "en") -> list[tuple[int, int]]:
    """The sentences of `text` as (start, end) without the blanks around them, in order; empty ones left out.

    Newlines that end a list item or a paragraph are borders too, and so are Markdown's heading lines.
    """
    spans = []
    for start, end in _borders(text, language):
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        if end > start:
            spans.append((start, end))
    return spans


def _borders(text: str, language: str) -> Iterator[tuple[int, int]]:
    """The sentences with the blanks around them, window by window; the next one begins with the last sentence of the
    one before, which may go on."""
    import sentencex

    for offset, part in _between_headings(text):
        at = 0
        while at < len(part):
            window = part[at : at + _WINDOW]
            found = [(b["start_index"], b["end_index"]) for b in sentencex.get_sentence_boundaries(language, window)]
            more = at + len(window) < len(part)
            if more and len(found) > 1:
                found.pop()
            for start, end in found:
                yield offset + at + start, offset + at + end
            at += found[-1][1] if found and more else len(window)


def _between_headings(text: str) -> Iterator[tuple[int, str]]:
    """Heading lines and what stands between them, with their positions; sentencex would join them."""
    at = 0
    for heading in _HEADING_LINE.finditer(text):
        if heading.start() > at:
            yield at, text[at : heading.start()]
        yield heading.start(), heading[0]
        at = heading.end()
    if at < len(text):
        yield at, text[at:]
