"""Guards of the index that a test can take away, to see the fault harness find what comes of it."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from edge_index.vectors import hnsw, vector_file

GUARDS = ("hash", "sync", "fsync", "transaction", "log")


class _Careless(sqlite3.Connection):
    """Set by `remove_guards`: which of SQLite's guards this connection goes without."""

    without: tuple[str, ...] = ()
    _writes = 0

    def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        if "sync" in self.without and "synchronous" in sql:
            sql = "PRAGMA synchronous=OFF"
        if "log" in self.without and "journal_mode" in sql:
            sql = "PRAGMA journal_mode=OFF"
        cursor = super().execute(sql, *rest)
        if "transaction" in self.without and self.in_transaction and sql.startswith("INSERT"):
            self._writes += 1
            if self._writes % 3 == 0:
                super().execute("COMMIT")
                super().execute("BEGIN IMMEDIATE")
        return cursor


class _Any(str):
    """A hash that equals every other."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def remove_guards(names: tuple[str, ...]) -> None:
    """In a process of its own: there is no way back.

    `hash`: files beside the store are opened without a look at their hashes. `sync`: SQLite does not sync.
    `fsync`: nor does Python. `transaction`: a transaction ends and begins again in its middle. `log`: SQLite keeps
    no log to go back by.
    """
    assert set(names) <= set(GUARDS)
    if "hash" in names:
        _replace(hnsw, "sha256_of", lambda path: _Any(path.stat().st_size))
        _replace(vector_file.VectorFile, "_verify_block", lambda self, block: None)
    if "fsync" in names:
        _replace(os, "fsync", lambda file: None)
    if {"sync", "transaction", "log"} & set(names):
        _Careless.without = names
        connect = sqlite3.connect
        _replace(sqlite3, "connect", lambda *args, **rest: connect(*args, **rest | {"factory": _Careless}))


def _replace(owner: object, name: str, value: object) -> None:
    assert hasattr(owner, name), f"{name} is no more, and with it what guards the index: look for its successor"
    setattr(owner, name, value)
