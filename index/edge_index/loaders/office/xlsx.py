"""Spreadsheets (.xlsx): every row a line, its values behind the names of their columns, under sheet and cell range."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import DocumentError
from edge_index.loaders.extracted import Extracted, Section
from edge_index.loaders.office.archives import OLE, check_size

# Rows of a sheet are streamed, so that its XML may be larger than that of other formats.
_LARGEST_XML = 600 * 2**20
# Rows that together are no longer than this are one section, and so one range: about a passage.
_LONGEST_RANGE = 480


def load(path: Path, data: bytes) -> Extracted:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    if data.startswith(OLE):
        raise DocumentError(
            f"{path} is protected by a password or an old Excel file; save it as .xlsx without a password"
        )
    try:
        check_size(path, data, _LARGEST_XML)
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        writing = _Writing()
        for sheet in book.worksheets:
            # A range that a file only claims to fill would be filled with empty cells.
            sheet.reset_dimensions()
            writing.sheet(sheet.title, sheet.iter_rows())
        return writing.done()
    except (zipfile.BadZipFile, zlib.error, InvalidFileException, KeyError, SyntaxError, ValueError) as error:
        raise DocumentError(
            f"{path} is a damaged spreadsheet or none at all; open it in its own program and save it again"
        ) from error


@dataclass(slots=True)
class _Range:
    """Rows that follow one another without a gap, on their way to a section."""

    start: int
    first_row: int
    left: int
    right: int
    last_row: int


@dataclass(slots=True)
class _Writing:
    """Rows on their way to a text with sections."""

    parts: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    length: int = 0

    def sheet(self, title: str, rows: Iterator[Any]) -> None:
        names: dict[int, str] = {}
        current: _Range | None = None
        for number, cells in enumerate(rows, 1):
            filled = {column: text for column, cell in enumerate(cells, 1) if (text := _shown(cell))}
            if not filled:
                self._end(title, current)
                current = None
                continue
            # A table begins at the top and behind a gap.
            header = current is None and _names_columns(filled)
            line = " | ".join(
                f"{names[column]}: {text}" if not header and column in names else text
                for column, text in filled.items()
            )
            if current is not None and self.length + len(line) - current.start > _LONGEST_RANGE:
                self._end(title, current)
                current = _Range(self._begin(), number, min(filled), max(filled), number)
            elif current is None:
                current = _Range(self._begin(), number, min(filled), max(filled), number)
            else:
                self._write("\n")
            self._write(line)
            current.left, current.right = min(current.left, *filled), max(current.right, *filled)
            current.last_row = number
            if header:
                names = filled
            elif len(filled) == 1 and not names:
                self._end(title, current)  # a title above its table
                current = None
        self._end(title, current)

    def done(self) -> Extracted:
        return Extracted("".join(self.parts), tuple(self.sections), by_line=True)

    def _begin(self) -> int:
        if self.parts:
            self._write("\n\n")
        return self.length

    def _write(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def _end(self, title: str, rows: _Range | None) -> None:
        if rows is not None:
            name = title if re.fullmatch(r"[^\W\d]\w*", title) else "'" + title.replace("'", "''") + "'"
            first, last = f"{_letters(rows.left)}{rows.first_row}", f"{_letters(rows.right)}{rows.last_row}"
            where = first if first == last else f"{first}:{last}"
            self.sections.append(Section(rows.start, self.length, f"{name}!{where}", None))


def _names_columns(filled: dict[int, str]) -> bool:
    """Whether a row looks like column names: several, different, and none a number."""
    texts = list(filled.values())
    return len(texts) > 1 and len(set(texts)) == len(texts) and not any(map(_is_number, texts))


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+(]?[\d.,:/%\s€$£-]+\)?", text))


def _shown(cell: Any) -> str:
    """A cell as its reader sees it, about: dates, percentages and whole numbers without decimals; on one line."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) or (isinstance(value, int) and "%" in cell.number_format):
        return f"{value * 100:.10g}%" if "%" in cell.number_format else f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        day = value.isoformat(" ", "seconds")
        return day.removesuffix(" 00:00:00")
    return " ".join(str(value).split())


def _letters(column: int) -> str:
    """The letters of a column, counted from 1."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
