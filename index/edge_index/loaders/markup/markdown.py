"""Markdown, verbatim, with the headings that markdown-it finds."""

from __future__ import annotations

import re
from pathlib import Path

from edge_index.loaders.extracted import Extracted
from edge_index.loaders.headings import sections
from edge_index.loaders.plain.text import Lines, decode

# Metadata between two lines of dashes (YAML) or pluses (TOML) at the very top, as site generators write it.
_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(?:[^\n]*\n)*?\1[ \t]*(?:\r?\n|\Z)")


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    front = _FRONT_MATTER.match(text)
    skipped = front.end() if front else 0
    headings = [(skipped + position, level, title) for position, level, title in find_headings(text[skipped:])]
    return Extracted(text, sections(headings, len(text)))


def find_headings(body: str) -> list[tuple[int, int, str]]:
    """The headings of a text as (position, level, title)."""
    from markdown_it import MarkdownIt

    lines = Lines(body)
    # Blocks are all that is needed: inline rules would only cost time.
    tokens = MarkdownIt("commonmark").disable("inline").parse(body)
    return [
        (lines.start(token.map[0]), int(token.tag[1:]), _plain(tokens[i + 1].content))
        for i, token in enumerate(tokens)
        if token.type == "heading_open" and token.map
    ]


def _plain(title: str) -> str:
    """A heading without its emphasis, code marks and link targets."""
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", title).strip()
