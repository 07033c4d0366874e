"""Curves in a terminal, drawn with the dots of braille signs: two columns and four rows of them in each character."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

Curve = Sequence[tuple[float, float]]


def draw(lines: Curve, marks: Curve = (), *, width: int = 60, height: int = 10) -> list[str]:
    """`lines` as dots and `marks` as ● over them, in rows of text with the scale on the left and the steps below.

    `width` and `height` are those of the picture alone, in characters. Without points there are no rows.
    """
    points = [*lines, *marks]
    if not points:
        return []
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> tuple[int, int]:
        across = (x - left) / ((right - left) or 1)
        down = (high - y) / ((high - low) or 1)
        return round(across * (2 * width - 1)), round(down * (4 * height - 1))

    cells = [[0] * width for _ in range(height)]
    for column, row in _joined([place(*point) for point in lines]):
        cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    signs = [[chr(0x2800 + cell) if cell else " " for cell in row] for row in cells]
    for column, row in (place(*point) for point in marks):
        signs[row // 4][column // 2] = "●"
    scale = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    margin = max(map(len, scale.values()))
    rows = [f"{scale.get(at, ''):>{margin}} ┤{''.join(row).rstrip()}" for at, row in enumerate(signs)]
    ends = f"{left:g}{f'{right:g}':>{max(1, width - len(f'{left:g}'))}}"
    return [*rows, f"{'':{margin}} └{'─' * width}", f"{'':{margin}}  {ends}"]


def _joined(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The dots of the straight lines from each place to the next."""
    found = list(places[:1])
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        found += [
            (round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)) for step in range(1, steps + 1)
        ]
    return found
