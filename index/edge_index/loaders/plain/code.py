"""Source code and settings files, verbatim, with an outline by the shape of their lines.

No grammar of any language: a line that opens a definition, its indentation and the line that closes it are enough
to say where one is. What is not recognised stays in the text without a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_index.loaders.extracted import Extracted
from edge_index.loaders.headings import named_sections
from edge_index.loaders.plain.outlines import NOT_NAMES, Outline, outline_for
from edge_index.loaders.plain.text import decode

# A longer line is data or minified.
_LONGEST_LINE = 300
_LINES = re.compile(r"[^\r\n]*(?:\r\n?|\n|\Z)")
_CLOSING = re.compile(r"\s*(?:[)\]}]|end\b)")
# What belongs to the definition below it: comments, attributes, annotations, templates.
_LEADING = re.compile(r"\s*(?://|/\*|\*|#|--|;|%|@|\[|\(\*|template\b|\"\"\")")
_SETTINGS = re.compile(r"\[+\s*([^\]\r\n]{1,100}?)\s*\]+\s*(?:[#;].*)?$")
_YAML = re.compile(r"([\w.-]{1,80}|\"[^\"\r\n]{1,80}\"):(?:\s|$)")


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    suffix = path.suffix.lower()
    if suffix in (".toml", ".ini", ".cfg", ".conf"):
        names = list(_flat(text, _SETTINGS))
    elif suffix in (".yaml", ".yml"):
        names = list(_flat(text, _YAML))
    else:
        outline = outline_for(suffix)
        names = list(_definitions(text, outline)) if outline else []
    return Extracted(text, named_sections(names, text), by_line=True)


def _flat(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Tables of a settings file, keys of the first level."""
    for start, line in _lines(text):
        match = pattern.match(line) if len(line) <= _LONGEST_LINE else None
        if match:
            yield start, (match[1].strip('"'),)


def _definitions(text: str, outline: Outline) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Where each definition begins, its comments included, and where the code around it goes on."""
    open_: list[tuple[int, str, bool]] = []  # indentation, name, whether others may stand inside
    leading: int | None = None  # where the comments right above began
    ended = False  # whether a definition closed and what follows is outside of it
    commented = False
    for start, line in _lines(text):
        stripped = line.strip()
        if commented or (stripped.startswith("/*") and "*/" not in stripped):
            commented = "*/" not in stripped
            leading = start if leading is None else leading
            continue
        if not stripped:
            continue
        indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        found = _definition(line, indent, open_, outline)
        if found:
            while open_ and open_[-1][0] >= indent:
                open_.pop()
            open_.append((indent, *found))
            yield start if leading is None else leading, tuple(name for _, name, _ in open_)
            ended = stripped.endswith("}") and "{" in stripped
            if ended:
                open_.pop()
        elif open_ and indent <= open_[-1][0] and _CLOSING.match(line):
            while open_ and open_[-1][0] >= indent:
                open_.pop()
            ended = True
        elif ended and not _LEADING.match(line):
            yield start if leading is None else leading, tuple(name for _, name, _ in open_)
            ended = False
        if not _LEADING.match(line) or found:
            leading = None
        elif leading is None:
            leading = start


def _definition(
    line: str, indent: int, open_: list[tuple[int, str, bool]], outline: Outline
) -> tuple[str, bool] | None:
    """The name that the line defines and whether it may hold others; what stands inside a function is its own."""
    around = [entry for entry in open_ if entry[0] < indent]
    if len(line) > _LONGEST_LINE or (around and not around[-1][2]) or (indent and outline.only_outside):
        return None
    for pattern, holds in outline.patterns:
        match = pattern.match(line)
        if match:
            name = ".".join(part for part in match.groups() if part)
            if name and name not in NOT_NAMES:
                return name, holds
    return None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for match in _LINES.finditer(text):
        if match.end() > match.start():
            yield match.start(), match[0]
