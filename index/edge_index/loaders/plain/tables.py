"""CSV and its like, verbatim; the column names are the heading of all rows."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path

from edge_index.loaders.extracted import Extracted, Section
from edge_index.loaders.plain.text import decode

# Characters and rows that are enough to tell the delimiter.
_SAMPLE = 16_384
_ROWS = 20
_DELIMITERS = ",;\t|"
# The share of rows that have as many cells as the first one, where the delimiter is the right one.
_ALIKE = 0.7


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    return Extracted(text, (Section(0, len(text), _column_names(text), None),), by_line=True)


def _column_names(text: str) -> str | None:
    """The first row, where all its cells are filled, different and not numbers."""
    best: tuple[float, list[str]] = (0.0, [])
    for delimiter in _DELIMITERS:
        # Not csv.Sniffer: its patterns take hours for a few thousand hostile characters.
        lines = io.StringIO(text[:_SAMPLE], newline="")
        try:
            rows = list(islice(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), _ROWS))
        except csv.Error:
            continue
        rows = [row for row in rows if row]
        alike = sum(len(row) == len(rows[0]) for row in rows) / len(rows) if len(rows) > 1 else 0.0
        if alike >= _ALIKE and len(rows[0]) > 1:
            best = max(best, (alike * len(rows[0]), rows[0]), key=lambda found: found[0])
    row = best[1]
    cells = [" ".join(cell.split()) for cell in row]
    named = all(cells) and len(set(cells)) == len(cells) and not any(map(_is_number, cells))
    return ", ".join(cells) if named and len(cells) > 1 else None


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
