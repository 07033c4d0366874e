"""Blocks of formats that are no plain text (HTML, DOCX), and documents inside documents -> one text with sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_index.loaders.extracted import Extracted, Section
from edge_index.loaders.headings import sections, short


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list item, table row or heading. `level` is a heading's, lower is outer.

    Tight blocks in a row (list items, rows) stand on lines of their own, all others have blank lines around.
    """

    text: str
    level: int | None = None
    tight: bool = False


def assemble(blocks: Iterable[Block]) -> Extracted:
    """The blocks as one text; those without any characters but blanks and bars are left out."""
    parts: list[str] = []
    headings: list[tuple[int, int, str]] = []
    length = 0
    tight = False
    for block in blocks:
        if not block.text.strip(" |\n"):
            tight = tight and block.tight
            continue
        if parts:
            gap = "\n" if tight and block.tight else "\n\n"
            parts.append(gap)
            length += len(gap)
        if block.level is not None:
            headings.append((length, block.level, block.text))
        parts.append(block.text)
        length += len(block.text)
        tight = block.tight
    return Extracted("".join(parts), sections(headings, length))


def join(parts: Iterable[tuple[Extracted, str | None, int | None]]) -> Extracted:
    """Chapters, slides or messages (text, heading, page) one after another.

    The sections of each stand under its heading and on its page; notes are kept, page counts are not.
    """
    texts: list[str] = []
    found: list[Section] = []
    notes: list[str] = []
    at = 0
    for inner, heading, page in parts:
        notes += inner.notes
        if not inner.text.strip():
            continue
        at += 2 * bool(texts)
        outer = short(heading or "")
        for section in inner.sections or (Section(0, len(inner.text), None, None),):
            path = " > ".join(title for title in (outer, section.heading) if title)
            found.append(Section(at + section.start, at + section.end, path or None, page))
        texts.append(inner.text)
        at += len(inner.text)
    return Extracted("\n\n".join(texts), tuple(found), notes=tuple(dict.fromkeys(notes)))


def silent(kind: str, places: Sequence[int], guess: str) -> tuple[str, ...]:
    """The note that these pages or slides hold no text, if there are any: "pages 3, 7-9 hold no text (scanned?)"."""
    if not places:
        return ()
    verb = f"{kind}s {numbers(places)} hold" if len(places) > 1 else f"{kind} {places[0]} holds"
    return (f"{verb} no text ({guess})",)


def numbers(values: Iterable[int]) -> str:
    """Numbers as a person lists them, in order: "3, 7-9"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
