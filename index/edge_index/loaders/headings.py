"""Headings found along a text -> its sections, each under its heading path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_index.loaders.extracted import Section

# A heading stands in every path below it: a page of text that says to be one must not be multiplied.
_LONGEST_TITLE = 200
_DEEPEST_PATH = 16


def sections(headings: Iterable[tuple[int, int, str]], length: int) -> tuple[Section, ...]:
    """Sections of a text of `length` characters from its headings (position, level, title), in order.

    A section begins at its heading and ends at the next one of any level. Lower levels are outer ones;
    levels may be skipped. Text before the first heading gets a section without one.
    """
    found: list[Section] = []
    path: list[tuple[int, str]] = []
    start, name = 0, None
    for position, level, title in headings:
        if position > start:
            found.append(Section(start, position, name, None))
        while path and path[-1][0] >= level:
            path.pop()
        path.append((level, short(title)))
        shown = [title for _, title in path if title]
        start, name = position, " > ".join(shown[-_DEEPEST_PATH:]) or None
    if length > start:
        found.append(Section(start, length, name, None))
    return tuple(found)


def short(title: str) -> str:
    """A title on one line, cut where it is too long to be one."""
    title = " ".join(title[: 20 * _LONGEST_TITLE].split())
    return title if len(title) <= _LONGEST_TITLE else title[:_LONGEST_TITLE] + "…"


def named_sections(names: Sequence[tuple[int, tuple[str, ...]]], text: str) -> tuple[Section, ...]:
    """Sections of source code from (position, name path) of its definitions, in order; () is outside of all.

    The first line of a class or module that stands alone goes to its first member.
    """
    found: list[Section] = []
    start: int = 0
    path: tuple[str, ...] = ()
    for position, inner in [*names, (len(text), ())]:
        lead = text[start:position].strip()
        opens = bool(path) and len(inner) > len(path) and inner[: len(path)] == path
        if not (opens and "\n" not in lead):
            if position > start:
                found.append(Section(start, position, short(".".join(path[-_DEEPEST_PATH:])) or None, None))
            start = position
        path = inner
    return tuple(found)
