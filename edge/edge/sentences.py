"""Sentence borders, in any language, as character spans. A thin face on `sentencex`."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEADING_LINE = re.compile(r"^#{1,6} [^\n]*$", re.MULTILINE)


def sentence_spans(text: str, language: str = "en") -> list[tuple[int, int]]:
    """The sentences of `text` as (start, end) without the blanks around them, in order; empty ones left out.

    Newlines that end a list item or a paragraph are borders too, and so are Markdown's heading lines.
    """
    import sentencex

    spans = []
    for offset, part in _between_headings(text):
        for boundary in sentencex.get_sentence_boundaries(language, part):
            start, end = boundary["start_index"], boundary["end_index"]
            piece = part[start:end]
            start += offset + len(piece) - len(piece.lstrip())
            end += offset - (len(piece) - len(piece.rstrip()))
            if end > start:
                spans.append((start, end))
    return spans


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
