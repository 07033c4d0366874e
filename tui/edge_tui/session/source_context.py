"""Looks up what stands around a source in its document, and whether the file is still what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from edge.errors import KnowledgeError
from edge_tui.rendering.answer import with_context
from edge_tui.rendering.sources import Source, Staleness


class Texts(Protocol):
    """What the index remembers of its documents."""

    def text(self, document: str) -> str: ...

    def stale(self, documents: Iterable[str] | None = None) -> Mapping[str, Staleness]: ...


def in_context(known: Texts, sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """`sources` with their surroundings, where the index still has them, and `stale` as it is now.

    It reads files where their date or size changed: not for the thread that draws.
    """
    texts: dict[str, str] = {}
    for name in {source.document for source in sources if not source.before and not source.after}:
        try:
            texts[name] = known.text(name)
        except KnowledgeError:  # removed by another process meanwhile: the quote alone still stands
            continue
    stale = known.stale({source.document for source in sources})
    found = []
    for source in sources:
        if source.document in texts:
            source = with_context(source, texts[source.document])
        found.append(replace(source, stale=stale.get(source.document)))
    return tuple(found)
