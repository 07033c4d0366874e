"""CSV, JSON and JSON lines, verbatim; a CSV's column names are the heading of all its rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from edge_index.loaders import Extracted, Section
from edge_index.loaders.text import decode

_SAMPLE = 16_384  # characters that are enough to tell the delimiter


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    names = _column_names(text) if path.suffix.lower() in (".csv", ".tsv") else None
    return Extracted(text, (Section(0, len(text), names, None),), by_line=True)


def _column_names(text: str) -> str | None:
    """The first row, where all its cells are filled, different and not numbers."""
    try:
        dialect = csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|")
        row = next(csv.reader(io.StringIO(text[:_SAMPLE], newline=""), dialect), [])
    except csv.Error:
        return None
    cells = [" ".join(cell.split()) for cell in row]
    named = all(cells) and len(set(cells)) == len(cells) and not any(map(_is_number, cells))
    return ", ".join(cells) if named and len(cells) > 1 else None


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
