"""The texts out of an index again, as JSON lines, also from one with damaged pages: what can be read is kept."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from edge.errors import KnowledgeError
from edge_index.records import Failure
from edge_index.storage.attributes import from_json
from edge_index.storage.passage_table import passage_hash, text_crc

_DOCUMENT = ("path", "sha256", "bytes", "pages", "text")
_PASSAGE = ("start", "end", "page", "heading", "text")


@dataclass(slots=True)
class Exported:
    """How many documents and passages were written, and what could not be, or only damaged."""

    documents: int = 0
    passages: int = 0
    failed: list[Failure] = field(default_factory=list)


def export(path: Path, out: TextIO) -> Exported:
    """Write every document of the SQLite file `path` as a line {"kind": "document", "path", "sha256", "text", …} and
    each of its passages as a line {"kind": "passage", "path", "sha256", "start", "end", "text", …}.

    A line with `"damaged": true` has a text that is not what was once written. Raises KnowledgeError where there is
    no index, or nothing at all of it can be read.
    """
    if not path.is_file():
        raise KnowledgeError(f"there is no index at {path.parent}; `edge index list` shows those that have a name")
    exporting = _Exporting(path)
    try:
        return exporting.run(out)
    finally:
        exporting.close()


class _Exporting:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        # Damaged text is better than none.
        self._db.text_factory = lambda data: data.decode("utf-8", "replace")
        self._done = Exported()

    def close(self) -> None:
        self._db.close()

    def run(self, out: TextIO) -> Exported:
        documents = self._numbers("documents", "path")
        passages = self._numbers("passages", "document")
        known: dict[int, dict[str, Any]] = {}
        for number in documents:
            row = self._document(number)
            if row is not None:
                out.write(_line("document", row))
                known[number] = {"path": row["path"], "sha256": row["sha256"]}
                self._done.documents += 1
        for number in passages:
            row = self._passage(number, known)
            if row is not None:
                out.write(_line("passage", row))
                self._done.passages += 1
        if not (documents or passages) and self._done.failed:
            raise KnowledgeError(f"nothing of {self._path} can be read: {self._done.failed[0].reason}; restore a copy")
        return self._done

    def _numbers(self, table: str, other: str) -> list[int]:
        """The ids of a table by every way that leads to them, each up to the first page that cannot be read."""
        found: set[int] = set()
        reason = ""
        for order in ("id", "id DESC", f"{other}, id", f"{other} DESC, id DESC"):
            try:
                for row in self._db.execute(f"SELECT id FROM {table} ORDER BY {order}"):
                    found.add(row[0])
            except sqlite3.DatabaseError as error:
                reason = reason or str(error)
        if reason:
            self._fail(table, f"the table of the {table} is damaged ({reason}); what of it can still be reached is out")
            found.update(self._between(table, found))
        return sorted(found)

    def _between(self, table: str, found: set[int]) -> Iterator[int]:
        """Those that only a look-up by number still reaches."""
        for number in range(1, max(found, default=0) + 1):
            # An error, too, says that there may be something.
            if number not in found and self._row(f"SELECT 1 FROM {table} WHERE id = ?", number) is not None:
                yield number

    def _row(self, sql: str, number: int) -> tuple[Any, ...] | str | None:
        """The row, None for none, or the words of SQLite's error."""
        try:
            row: tuple[Any, ...] | None = self._db.execute(sql, (number,)).fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
        return row

    def _document(self, number: int) -> dict[str, Any] | None:
        row = self._row(f"SELECT crc, {', '.join(_DOCUMENT)} FROM documents WHERE id = ?", number)
        if row is None:  # an order led to it
            self._fail(f"document {number}", f"document {number} is named and cannot be found")
            return None
        if isinstance(row, str):
            # The path also stands in the index over it, which may be whole where the table is not.
            name = self._row("SELECT path FROM documents INDEXED BY sqlite_autoindex_documents_1 WHERE id = ?", number)
            shown = str(name[0]) if name and not isinstance(name, str) else f"document {number}"
            self._fail(shown, f"{shown} cannot be read: {row}")
            return None
        found = dict(zip(_DOCUMENT, row[1:], strict=True)) | self._attributes(number)
        if not isinstance(found["text"], str):  # a page in the place of another
            self._fail(str(found["path"]), f"document {number} ({found['path']}) has lost its text")
            return None
        if text_crc(found["text"]) != row[0]:
            found["damaged"] = True
            self._fail(found["path"], f"the text of {found['path']} is damaged")
        return found

    def _attributes(self, number: int) -> dict[str, Any]:
        """What was given with a document; nothing where that cannot be read or the index is of an older format."""
        row = self._row("SELECT metadata, has_file FROM attributes WHERE document = ?", number)
        if row is None or isinstance(row, str):
            return {}
        try:
            return {"metadata": from_json(row[0]), "has_file": bool(row[1])}
        except TypeError as error:
            self._fail(f"document {number}", f"of document {number} {error}")
            return {}

    def _passage(self, number: int, documents: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
        row = self._row(f"SELECT document, hash, {', '.join(_PASSAGE)} FROM passages WHERE id = ?", number)
        if row is None:
            self._fail(f"passage {number}", f"passage {number} is named and cannot be found")
            return None
        if isinstance(row, str):
            self._fail(f"passage {number}", f"passage {number} cannot be read: {row}")
            return None
        found = documents.get(row[0], {"path": None, "sha256": None}) | dict(zip(_PASSAGE, row[2:], strict=True))
        if not isinstance(found["text"], str):
            self._fail(f"passage {number}", f"passage {number} ({found['path']}) has lost its text")
            return None
        spans = self._row("SELECT spans FROM vectors WHERE passage = ?", number)
        if spans and not isinstance(spans, str) and not _matches(found["text"], spans[0], row[1]):
            found["damaged"] = True
            self._fail(f"passage {number}", f"the text of passage {number} ({found['path']}) is damaged")
        return found

    def _fail(self, what: str, reason: str) -> None:
        self._done.failed.append(Failure(what, reason))


def _matches(text: str, spans: object, name: bytes) -> bool:
    return isinstance(spans, bytes) and passage_hash(text, spans) == name


def _line(kind: str, row: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **row}, ensure_ascii=False) + "\n"
