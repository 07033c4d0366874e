"""What a loader makes of a file: one text, its sections, and what could not be read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch `text[start:end]` under one heading path ("Results > Yield") or on one page (from 1).

    The heading of code is a dotted name ("Parser.parse"), that of rows of a spreadsheet their range in the
    spreadsheet's own words ("Prices!A2:D9").
    """

    start: int
    end: int
    heading: str | None
    page: int | None


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document. Every position anywhere refers to `text`.

    Sections stand in order and do not overlap; what no section covers has no heading. `pages` is None where
    the format has none. `by_line` says that lines, not sentences, are the units: source code and tables.
    `notes` tell a person what of the file is not in the text ("pages 3, 7 hold no text (scanned?)").
    """

    text: str
    sections: tuple[Section, ...] = ()
    pages: int | None = None
    by_line: bool = False
    notes: tuple[str, ...] = ()


def storable(extracted: Extracted) -> Extracted:
    """Without halves of surrogate pairs and zeros, which a database refuses; no position changes."""
    if not _UNSTORABLE.search(extracted.text) and not any(
        section.heading and _UNSTORABLE.search(section.heading) for section in extracted.sections
    ):
        return extracted
    sections = tuple(
        replace(section, heading=section.heading and _UNSTORABLE.sub("\ufffd", section.heading))
        for section in extracted.sections
    )
    return replace(extracted, text=_UNSTORABLE.sub("\ufffd", extracted.text), sections=sections)
