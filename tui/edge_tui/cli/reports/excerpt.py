"""A span of a document as `edge index show` prints it, in its text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edge.errors import UsageError
from edge_tui.rendering.sources import STALE
from edge_tui.rendering.units import short_path
from edge_tui.terminal import printable, visible_name

if TYPE_CHECKING:
    from edge_index import Index

_SPAN = re.compile(r"(.+):(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A span of a document's stored text: `before + text + after` stand there literally, `text` at `start:end`."""

    document: str
    sha256: str
    stale: str | None
    page: int | None
    heading: str | None
    start: int
    end: int
    before: str
    text: str
    after: str


def excerpt(index: Index, place: str, context: int) -> Excerpt:
    """The span that DOCUMENT:START-END names, or all of DOCUMENT. Raises KnowledgeError and UsageError."""
    from edge.errors import KnowledgeError

    span = _SPAN.fullmatch(place)
    try:
        path, span = index.find_document(place), None  # a name may look like a span
    except KnowledgeError:
        if span is None:
            raise
        path = index.find_document(span[1])
    text = index.text(path)
    start, end = (int(span[2]), int(span[3])) if span else (0, len(text))
    if not start <= end <= len(text):
        raise UsageError(f"{path} has the positions 0 to {len(text)}; {start}-{end} is no span of it")
    inside = index.passages(path, start, max(end, start + 1))
    page, heading = (inside[0].page, inside[0].heading) if inside and span else (None, None)
    (sha256,) = [document.sha256 for document in index.documents() if document.path == path]
    before, after = text[max(0, start - context) : start], text[end : end + context]
    stale = index.stale([path]).get(path)
    return Excerpt(path, sha256, stale, page, heading, start, end, before, text[start:end], after)


def print_excerpt(found: Excerpt) -> None:
    page = f" · p. {found.page}" if found.page is not None else ""
    heading = f" · {found.heading}" if found.heading else ""
    since = f" · {STALE[found.stale]}, this is what was read" if found.stale else ""
    click.secho(
        visible_name(f"{short_path(found.document)}{page} · {found.start}–{found.end}{heading}{since}"), fg="cyan"
    )
    whole = not (found.before or found.after)
    # Marks that are seen without colours, too.
    marked = found.text if whole else f"»{found.text}«"
    click.echo(printable(found.before), nl=False)
    click.secho(printable(marked), nl=False, bold=not whole)
    click.echo(printable(found.after))
