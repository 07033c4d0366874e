"""Blocks of formats that are no plain text (HTML, DOCX) -> one readable text with sections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_index.loaders import Extracted
from edge_index.loaders.headings import sections


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
