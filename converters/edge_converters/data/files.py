"""Files of training data -> numbered records: JSON lines, JSON arrays and tables, a piece at a time.

A record that is broken is told with its line, and those behind it are read all the same.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from edge.errors import DataError, StorageError
from edge_converters.data.records import Finding

TABLES = (".csv", ".tsv", ".tab")
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_FOREIGN = {
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "compressed with gzip",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"GGUF": "a model and no training data",
}
_CHUNK = 1 << 16
_LONGEST = 1 << 26  # characters of one line: more is no line of text


@dataclass(frozen=True, slots=True)
class Record:
    """A value as it stands in a file; `line` is where it begins."""

    line: int
    value: Any


def read_records(path: Path) -> Iterator[Record | Finding]:
    """Everything in the file, and a Finding for what of it cannot be read.

    Raises StorageError for a file that is not there, DataError for one of another kind.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
        for magic, what in _FOREIGN.items():
            if head.startswith(magic):
                raise DataError(f"{path} is {what}; write it as JSON lines or CSV and give that file")
        bom = next((bom for bom in _BOMS if head.startswith(bom)), None)
        encoding = "utf-8" if bom is None else _BOMS[bom]
        if bom is not None:
            yield _about_bom(path, encoding)
        # Bytes that are no UTF-8 are found record by record. Only a line feed ends a line.
        with path.open(encoding=encoding, errors="surrogateescape", newline="\n") as text:
            yield from _records(path, text)
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist; give a file with training examples") from error
    except UnicodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16: {error}; save it as UTF-8") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror or error}); give a file that can") from error


def _about_bom(path: Path, encoding: str) -> Finding:
    if encoding == "utf-16":
        said = "is UTF-16, which most training tools refuse; `edge data convert` writes UTF-8"
    else:
        said = "begins with a byte-order mark, which some training tools refuse; `edge data convert` leaves it out"
    return Finding("note", "encoding", str(path), None, said)


def _records(path: Path, text: TextIO) -> Iterator[Record | Finding]:
    if path.suffix.lower() in TABLES:
        yield from _table(path, text)
        return
    first = _first_line(text)
    text.seek(0)
    begins = first.lstrip()[:1]
    if begins == "[":
        yield from _values(path, text, array=True)
    elif begins == "{" and path.suffix.lower() == ".json" and not _is_json(first):
        yield from _values(path, text, array=False)
    elif begins in ("{", "") or path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        yield from _lines(path, text)
    else:
        raise DataError(
            f"{path} begins with neither {{ nor [ and is no .csv or .tsv; training data is JSON lines, a JSON array "
            "or a table"
        )


def _first_line(text: TextIO) -> str:
    while line := text.readline(_LONGEST):
        if line.strip():
            return line
    return ""


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(path: Path, text: TextIO) -> Iterator[Record | Finding]:
    number = 0
    while line := text.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST:
            yield _broken(path, number, f"has more than {_LONGEST:,} characters; nothing behind it is read")
            return
        if not line.strip():
            continue
        foreign = not_unicode(line)
        if foreign:
            yield Finding("error", "encoding", str(path), number, foreign)
            continue
        try:
            yield Record(number, json.loads(line.rstrip()))
        except json.JSONDecodeError as error:
            ended = error.pos >= len(line.rstrip()) or error.msg.startswith("Unterminated")
            said = "it ends too early" if ended else error.msg
            yield _broken(path, number, f"is no JSON from column {error.colno} on: {said}; mend the line")
        except (ValueError, RecursionError) as error:
            yield _broken(path, number, f"is no JSON that can be read: {error}; mend the line")


def not_unicode(text: str) -> str | None:
    """What is wrong with a text that was read with `surrogateescape`; None when nothing is."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if 0xDC80 <= code <= 0xDCFF:
            where = f"the byte 0x{code - 0xDC00:02x} in column {error.start + 1}"
            return f"is not UTF-8 ({where}); save the file as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 does it for most"
        return f"holds half of a surrogate pair (\\u{code:04x}), which is no character; write the whole character"
    return None


def _broken(path: Path, line: int, message: str) -> Finding:
    return Finding("error", "broken", str(path), line, message)


class _Window:
    """The part of a long text that is being decoded; knows the line at which it begins."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._ended = text, False
        self.held, self.line = "", 1

    def more(self) -> bool:
        """Read on, twice as far each time: a value that spans many chunks is decoded a few times only."""
        chunk = "" if self._ended else self._text.read(max(_CHUNK, len(self.held)))
        self._ended = not chunk
        self.held += chunk
        return bool(chunk)

    def drop(self, count: int) -> None:
        self.line += self.held.count("\n", 0, count)
        self.held = self.held[count:]

    def skip(self, characters: str) -> str:
        """Go past white space and `characters`; the next character, "" at the end."""
        while True:
            rest = self.held.lstrip(" \t\r\n" + characters)
            self.drop(len(self.held) - len(rest))
            if self.held:
                return self.held[0]
            if not self.more():
                return ""


def _values(path: Path, text: TextIO, *, array: bool) -> Iterator[Record | Finding]:
    """The items of a JSON array, or JSON values one after the other, decoded as the file is read."""
    window, decoder = _Window(text), json.JSONDecoder()
    window.skip("")
    if array:
        window.drop(1)
    while window.skip("," if array else "") not in ("", "]" if array else ""):
        line = window.line
        try:
            value, end = decoder.raw_decode(window.held)
        except (ValueError, RecursionError) as error:
            if _cut(error, window.held) and window.more():
                continue
            at = line + window.held.count("\n", 0, getattr(error, "pos", 0))
            said = f"is no JSON: {getattr(error, 'msg', error)}; nothing of this file behind line {line} is read"
            yield _broken(path, at, said)
            return
        if end == len(window.held) and window.more():
            continue  # a number could go on
        foreign = not_unicode(window.held[:end])
        window.drop(end)
        yield Finding("error", "encoding", str(path), line, foreign) if foreign else Record(line, value)
    if array and not window.held:
        yield _broken(path, window.line, "ends before the array does: its ] is missing; was the file cut off?")


def _cut(error: Exception, held: str) -> bool:
    """Whether a value may only have been cut by the end of what was read so far."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos > len(held) - 16


def _table(path: Path, text: TextIO) -> Iterator[Record | Finding]:
    header_line = _first_line(text)
    text.seek(0)
    # The module's own limit of 131,072 characters a cell is for the whole process; documents are longer.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    rows = csv.reader(text, delimiter=_delimiter(path, header_line), strict=True)
    header: list[str] | None = None
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield _broken(path, line, _about_quotes(str(error), line, rows.line_num))
            continue
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [cell.strip().lower() for cell in row]
            continue
        foreign = not_unicode("\t".join(row))
        if foreign:
            yield Finding("error", "encoding", str(path), line, foreign)
        elif len(row) != len(header):
            said = f"has {len(row)} cells where the header has {len(header)}; put cells with separators into quotes"
            yield _broken(path, line, said)
        else:
            yield Record(line, dict(zip(header, row, strict=True)))


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() != ".csv":
        return "\t"
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=unquoted.count)


def _about_quotes(said: str, first: int, last: int) -> str:
    lines = f"; lines {first} to {last} were taken for one row" if last > first else ""
    if "unexpected end" in said:
        return f'has a " that is never closed{lines}; close it, or write it twice ("") where it belongs to the text'
    return f'cannot be read: {said}{lines}; write " twice ("") where it belongs to the text'
