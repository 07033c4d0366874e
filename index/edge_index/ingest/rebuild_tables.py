"""What a rebuild keeps in the store: how far it is, and its own passages until they take the place of the old ones."""

from __future__ import annotations

from dataclasses import dataclass

from edge_index.storage import schema
from edge_index.storage.passage_table import PassageTable
from edge_index.storage.schema import REBUILD_PREFIX
from edge_index.storage.store import Store

_KEYS = f"{REBUILD_PREFIX}*"


@dataclass(frozen=True, slots=True)
class StoredText:
    """What a document can be cut from again; `sections` as JSON, rows of [start, end, heading, page]."""

    path: str
    pages: int | None
    by_line: bool
    sections: str
    text: str


class RebuildTables:
    """A rebuild by certain `rules` (any text); what one by others left behind is of no use to it."""

    def __init__(self, store: Store, rules: str) -> None:
        self._store = store
        self._rules = rules

    def goes_on(self) -> bool:
        """Whether such a rebuild was begun."""
        return self._store.meta(f"{REBUILD_PREFIX}rules") == self._rules

    def begin(self) -> None:
        """Make its tables, unless it goes on."""
        if self.goes_on():
            return
        with self._store.transaction():
            if self._store.meta(f"{REBUILD_PREFIX}rules") is not None:
                self._store.run(schema.drop_rebuild())
            self._store.run(schema.begin_rebuild())
            self._store.write("DELETE FROM meta WHERE key GLOB ?", (_KEYS,))
            self._store.set_meta(f"{REBUILD_PREFIX}rules", self._rules)

    def passage_table(self, *, reuse: bool) -> PassageTable:
        """Its passages; with `reuse` the vectors of the index are good for them, too."""
        return self._store.other_passage_table(REBUILD_PREFIX, fallback_prefix="" if reuse else None)

    def done(self) -> set[int]:
        """The documents that are ready; those that changed since are not."""
        return {row[0] for row in self._store.read("SELECT document FROM redo_documents")} if self.goes_on() else set()

    def note_done(self, document: int) -> None:
        self._store.write("INSERT INTO redo_documents VALUES (?)", (document,))

    def left(self) -> list[int]:
        """The documents that are not ready."""
        done = self.done()
        return [row[0] for row in self._store.read("SELECT id FROM documents ORDER BY id") if row[0] not in done]

    def text(self, document: int) -> StoredText:
        rows = self._store.read("SELECT path, pages, by_line, sections, text FROM documents WHERE id = ?", (document,))
        path, pages, by_line, sections, text = rows[0]
        return StoredText(path, pages, bool(by_line), sections, text)

    def switch(self, chunking_rules: str) -> None:
        """Put what was made afresh in the place of what was there, all at once."""
        store = self._store
        with store.transaction():
            for key in ("encoder", "dim"):
                value = store.meta(f"{REBUILD_PREFIX}{key}")
                if value is not None:
                    store.set_meta(key, value)
            store.write("DELETE FROM meta WHERE key GLOB ?", (_KEYS,))
            used = store.read("SELECT seq FROM sqlite_sequence WHERE name = 'passages'")
            store.run(schema.switch())
            # Ids go on where they were: none is ever used twice.
            store.write("DELETE FROM sqlite_sequence WHERE name = 'passages'")
            store.write("INSERT INTO sqlite_sequence VALUES ('passages', ?)", used[0] if used else (0,))
            store.write("UPDATE documents SET cut = ?", (chunking_rules,))
            store.bump_generation()
            # Ids of the rebuild may lie among those that files beside SQLite know already: they are all made again.
            store.set_meta("epoch", str(store.generation()))


def count_outdated(store: Store, chunking_rules: str) -> int:
    """Documents that were cut by other rules than these."""
    return int(store.read("SELECT count(*) FROM documents WHERE cut <> ?", (chunking_rules,))[0][0])


def some_texts(store: Store, number: int) -> list[str]:
    """The texts of up to so many passages from all over the index."""
    scattered = "SELECT id FROM passages ORDER BY (id * 2654435761) % 4294967296 LIMIT ?"
    return [row[0] for row in store.read(f"SELECT text FROM passages WHERE id IN ({scattered})", (number,))]
