"""An answer's sentences, each with the sources that carry it: for those who read line by line."""

from __future__ import annotations

from collections.abc import Sequence

from edge.answer import Answer
from edge.types import Citation
from edge_tui.rendering.sources import Checked, Source
from edge_tui.terminal import printable


def checked(answer: Answer, sources: Sequence[Source]) -> tuple[Checked, ...]:
    """Every sentence that was held against the documents, in the order of the answer."""
    numbers: dict[tuple[int, int, str], set[int]] = {}
    for claim in answer.unsupported:
        numbers.setdefault((claim.start, claim.end, claim.text), set())
    for citation in answer.citations:
        claim = citation.claim
        numbers.setdefault((claim.start, claim.end, claim.text), set()).update(
            source.number for source in sources if holds(source, citation)
        )
    return tuple(Checked(one_line(text), tuple(sorted(found))) for (_, _, text), found in sorted(numbers.items()))


def holds(source: Source, citation: Citation) -> bool:
    """Whether what is cited stands inside a source."""
    inside = source.start <= citation.start and citation.end <= source.end
    return inside and source.document == citation.document


def one_line(text: str) -> str:
    """Words in one row, safe to print."""
    return " ".join(printable(text).split())
