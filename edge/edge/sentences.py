"""Sentence borders, in any language, as character spans. A thin face on `sentencex`."""

from __future__ import annotations


def sentence_spans(text: str, language: str = "en") -> list[tuple[int, int]]:
    """The sentences of `text` as (start, end) without the blanks around them, in order; empty ones left out.

    Newlines that end a list item or a paragraph are borders too.
    """
    import sentencex

    spans = []
    for boundary in sentencex.get_sentence_boundaries(language, text):
        start, end = boundary["start_index"], boundary["end_index"]
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        if end > start:
            spans.append((start, end))
    return spans
