"""JSON and JSON lines: verbatim, but for line breaks where a value of the upper levels begins on a crowded line."""

from __future__ import annotations

import re
from pathlib import Path

from edge_index.loaders.extracted import Extracted, Section
from edge_index.loaders.headings import sections
from edge_index.loaders.plain.text import decode

# Strings, brackets and commas; all else (numbers, blanks, what is broken) lies between them.
# A string that is never closed ends with the file.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
# A file with a longer line was written by a program for a program.
_CROWDED = 1000
_DEEPEST_BREAK = 4


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    if path.suffix.lower() != ".json":
        return Extracted(text, (Section(0, len(text), None, None),), by_line=True)
    if max(map(len, text.splitlines()), default=0) > _CROWDED:
        text = _spread(text)
    return Extracted(text, sections(_keys(text), len(text)), by_line=True)


def _spread(text: str) -> str:
    """A line for every value of the upper levels, indented; only blanks between values are changed."""
    parts: list[str] = []
    depth = end = 0
    for token in _TOKEN.finditer(text):
        between = text[end : token.start()].strip()
        mark = token[0]
        end = token.end()
        parts.append(f": {between[1:].lstrip()}" if between.startswith(":") else between)
        depth -= mark in "]}"
        if mark in "]}" and depth < _DEEPEST_BREAK:
            parts.append("\n" + "  " * depth)
        parts.append(mark)
        depth += mark in "[{"
        if mark in "[{," and depth <= _DEEPEST_BREAK:
            parts.append("\n" + "  " * depth)
        elif mark == ",":
            parts.append(" ")
    parts.append(text[end:].strip())
    return "".join(parts)


def _keys(text: str) -> list[tuple[int, int, str]]:
    """The keys of the outermost object as headings (position, level, title)."""
    found: list[tuple[int, int, str]] = []
    depth = 0
    outermost = ""
    fresh = False  # whether a key may come
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            outermost = outermost or mark
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark != "," and fresh and depth == 1 and outermost == "{":
            found.append((token.start(), 1, mark[1:-1]))
        fresh = mark in "{,"
    # Behind the bracket that opens the file.
    return [(0, *found[0][1:]), *found[1:]] if found else []
