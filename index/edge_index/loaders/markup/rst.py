"""reStructuredText, verbatim, with the section titles that docutils finds."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from edge_index.loaders.extracted import Extracted
from edge_index.loaders.headings import sections
from edge_index.loaders.plain.text import decode

if TYPE_CHECKING:
    from docutils import nodes


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    lines = text.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    headings = []
    line = 0
    for title, level in _titles(_parse(text)):
        found = _title_line(lines, line, title)
        if found is not None:
            headings.append((starts[found], level, title.astext()))
            line = found + 1
    return Extracted(text, sections(headings, len(text)))


def _parse(text: str) -> nodes.document:
    """The document tree; nothing outside `text` is read and mistakes in it are passed over."""
    from docutils.frontend import get_default_settings
    from docutils.parsers.rst import Parser
    from docutils.utils import new_document

    settings = get_default_settings(Parser)
    settings.report_level = settings.halt_level = 5
    settings.file_insertion_enabled = settings.raw_enabled = False
    settings.syntax_highlight = "none"
    settings.line_length_limit = len(text) + 1
    document = new_document("", settings)
    Parser().parse(text, document)
    return document


def _titles(document: nodes.document) -> list[tuple[nodes.title, int]]:
    """The title of every section, in order, with its depth from 1."""
    from docutils import nodes

    found = []
    for title in document.findall(nodes.title):
        depth, parent = 0, title.parent
        while parent is not None:
            depth += isinstance(parent, nodes.section)
            parent = parent.parent
        if isinstance(title.parent, nodes.section):
            found.append((title, depth))
    return found


def _title_line(lines: list[str], first: int, title: nodes.title) -> int | None:
    """The line, from `first` on, at which a title begins, its overline included.

    docutils keeps the title's source but not its line: of all lines that read so and are underlined, it is
    the one next to where the parser stood.
    """
    source = title.rawsource.strip()
    near = title.line or 0
    candidates = [
        number
        for number in range(first, len(lines) - 1)
        if lines[number].strip() == source and _is_rule(lines[number + 1])
    ]
    if not candidates:
        return None
    best = min(candidates, key=lambda number: abs(number + 1 - near))
    overlined = best > first and lines[best - 1].strip() == lines[best + 1].strip()
    return best - 1 if overlined else best


def _is_rule(line: str) -> bool:
    line = line.strip()
    return len(set(line)) == 1 and not line[0].isalnum()
