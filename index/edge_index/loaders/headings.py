"""Headings found along a text -> its sections, each under its heading path."""

from __future__ import annotations

from collections.abc import Iterable

from edge_index.loaders import Section


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
        path.append((level, " ".join(title.split())))
        start, name = position, " > ".join(title for _, title in path if title) or None
    if length > start:
        found.append(Section(start, length, name, None))
    return tuple(found)
