"""Where the lines of a page stand -> the order in which a person reads them: columns one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from statistics import median

# A column has at least so many lines, and they fill this share of its width: a table's cells do not.
_FEWEST_LINES = 4
_FILLED = 0.55
# The free strip between two columns, in heights of a line.
_GUTTER = 0.6
# The share of boxes that may stand across it: titles, footers, wide figures.
_MOST_CROSSING = 0.4
_MOST_COLUMNS_DEPTH = 3
_WIDEST = 20_000


@dataclass(frozen=True, slots=True)
class Box:
    """A piece of a line, in units of the page, y upwards, the text running to the right; `number` is its rank."""

    left: float
    bottom: float
    right: float
    top: float
    number: int

    @property
    def height(self) -> float:
        return self.top - self.bottom


def upright(rect: tuple[float, float, float, float], quarter_turns: int, number: int) -> Box:
    """The rectangle (left, bottom, right, top) on a page that is turned so that its text runs to the right.

    `quarter_turns` of the text: 0 runs right, 1 runs down, 2 left, 3 up.
    """
    left, bottom, right, top = rect
    if quarter_turns == 1:
        return Box(-top, left, -bottom, right, number)
    if quarter_turns == 2:
        return Box(-right, -top, -left, -bottom, number)
    if quarter_turns == 3:
        return Box(bottom, -right, top, -left, number)
    return Box(left, bottom, right, top, number)


def lines(boxes: Sequence[Box]) -> list[list[Box]]:
    """Neighbours in rank that stand close together on one line; a wide gap begins another."""
    found: list[list[Box]] = []
    for box in boxes:
        last = found[-1][-1] if found else None
        if last and _shared(last, box) and -box.height < box.left - last.right < 0.9 * max(last.height, box.height):
            found[-1].append(box)
        else:
            found.append([box])
    return found


def reading_order(boxes: Sequence[Box], depth: int = 0) -> list[list[Box]]:
    """The boxes in blocks, a column or what lies above, between and below each; in rank where there are no columns."""
    gutter = _gutter(boxes) if depth < _MOST_COLUMNS_DEPTH and len(boxes) >= 2 * _FEWEST_LINES else None
    if gutter is None:
        return [list(boxes)] if boxes else []
    across = sorted((box for box in boxes if box.left < gutter < box.right), key=lambda box: -box.top)
    rest = [box for box in boxes if not box.left < gutter < box.right]
    blocks: list[list[Box]] = []
    for wide in [*across, None]:
        above = [box for box in rest if wide is None or box.bottom + box.height / 2 > wide.top]
        taken = {box.number for box in above}
        rest = [box for box in rest if box.number not in taken]
        for side in ([box for box in above if box.right <= gutter], [box for box in above if box.left >= gutter]):
            blocks += reading_order(side, depth + 1)
        if wide is not None:
            blocks.append([wide])
    return blocks


def _gutter(boxes: Sequence[Box]) -> float | None:
    """The middle of the strip that parts most lines into two columns of text."""
    best: tuple[int, float] | None = None
    for middle, crossing in _strips(boxes):
        left = [box for box in boxes if box.right <= middle]
        right = [box for box in boxes if box.left >= middle]
        if min(_count_lines(left), _count_lines(right)) < _FEWEST_LINES or (best and crossing >= best[0]):
            continue
        if _is_text(left) and _is_text(right) and _side_by_side(left, right):
            best = crossing, middle
    return best[1] if best else None


def _strips(boxes: Sequence[Box]) -> Iterator[tuple[float, int]]:
    """Upright strips that few boxes cross, as (middle, how many do)."""
    first = min(box.left for box in boxes)
    width = max(box.right for box in boxes) - first
    if width > _WIDEST:
        return
    changes = [0] * (int(width) + 3)
    for box in boxes:
        changes[int(box.left - first)] += 1
        changes[int(box.right - first) + 1] -= 1
    needed = _GUTTER * median(box.height for box in boxes)
    at = 0
    for crossing, run in groupby(accumulate(changes)):
        length = len(list(run))
        if length >= needed and crossing <= _MOST_CROSSING * len(boxes):
            yield first + at + length / 2, crossing
        at += length


def _rows(boxes: Sequence[Box]) -> dict[int, list[Box]]:
    """The boxes by the height at which they stand, in lines."""
    rows: dict[int, list[Box]] = defaultdict(list)
    height = max(1.0, median(box.height for box in boxes)) if boxes else 1.0
    for box in boxes:
        rows[round((box.bottom + box.top) / 2 / height)].append(box)
    return rows


def _count_lines(boxes: Sequence[Box]) -> int:
    return len(_rows(boxes))


def _is_text(boxes: Sequence[Box]) -> bool:
    """Whether lines fill the column."""
    width = max(box.right for box in boxes) - min(box.left for box in boxes)
    filled = median(sum(box.right - box.left for box in row) for row in _rows(boxes).values())
    return filled >= _FILLED * width and width > 8 * boxes[0].height


def _side_by_side(left: Sequence[Box], right: Sequence[Box]) -> bool:
    """Whether both stand at the same height for a good part."""
    low = max(min(box.bottom for box in left), min(box.bottom for box in right))
    high = min(max(box.top for box in left), max(box.top for box in right))
    shorter = min(max(box.top for box in side) - min(box.bottom for box in side) for side in (left, right))
    return high - low > 0.5 * shorter


def _shared(a: Box, b: Box) -> bool:
    """Whether they stand on one line."""
    return min(a.top, b.top) - max(a.bottom, b.bottom) > 0.3 * min(a.height, b.height)
