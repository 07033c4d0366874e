"""What stands on the screen, cell by cell: characters with their colours, and how well they can be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len

Colour = tuple[int, int, int]


def rows(app: Any) -> list[str]:
    """The characters of every row of the screen, as the terminal gets them."""
    return ["".join(segment.text for segment in strip) for strip in _strips(app)]


def widths(app: Any) -> set[int]:
    """How many cells the rows take: only the width of the screen, if nothing is out of place."""
    return {cell_len(row) for row in rows(app)}


def written(app: Any, inside: Any = None) -> Iterator[tuple[str, Colour, Colour]]:
    """(text, colour, ground) of everything that is read, in the region `inside`; bars and borders are no text."""
    for row, strip in enumerate(_strips(app)):
        if inside is not None:
            if not inside.y <= row < inside.bottom:
                continue
            strip = strip.crop(inside.x, inside.right)
        for segment in strip:
            style = segment.style
            if style is None or not any(character.isalnum() for character in segment.text):
                continue
            colour, ground = _rgb(style.color), _rgb(style.bgcolor)
            if style.reverse:
                colour, ground = ground, colour
            yield segment.text, colour, ground


def contrast(one: Colour, other: Colour) -> float:
    """The ratio of WCAG 2: 1 to 21."""

    def luminance(colour: Colour) -> float:
        parts = [value / 255 for value in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _rgb(colour: Any) -> Colour:
    assert colour is not None
    found = colour.get_truecolor()
    return (found.red, found.green, found.blue)


def _strips(app: Any) -> list[Any]:
    """Filters (dim, no colours) are applied already: they are part of what the widgets give."""
    return list(app.screen._compositor.render_strips(app.size))


def inked(app: Any) -> list[list[str]]:
    """The colours and the weight of every cell, as one word each."""
    out = []
    for strip in _strips(app):
        row: list[str] = []
        for segment in strip:
            style = segment.style
            colours = (style.color, style.bgcolor) if style else ()
            named = " on ".join("#{:02x}{:02x}{:02x}".format(*_rgb(each)) for each in colours if each is not None)
            held = [word for word in ("bold", "italic", "underline", "reverse") if style and getattr(style, word)]
            row.extend([" ".join([named, *held])] * cell_len(segment.text))
        out.append(row)
    return out
