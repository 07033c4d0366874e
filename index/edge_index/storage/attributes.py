"""What a document carries beside its text: metadata of the user's own, and whether there is a file behind it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edge.errors import UsageError
from edge_index.storage.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NONE = "{}"


def to_json(metadata: Mapping[str, Any]) -> str:
    """The text under which metadata is kept. Raises UsageError for what JSON does not know."""
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise UsageError(f"metadata is a mapping with texts as its keys, like {{'year': 2024}}, not {metadata!r}")
    try:
        return json.dumps(dict(metadata), ensure_ascii=True, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"metadata must be made of what JSON knows: {error}") from error


def from_json(text: str | None) -> dict[str, Any]:
    """Of a document without metadata {}. Raises TypeError for what `to_json` did not write."""
    try:
        found = json.loads(text or NONE)
    except ValueError as error:
        raise TypeError(f"metadata is damaged ({error})") from error
    if not isinstance(found, dict):
        raise TypeError("metadata is damaged")
    return found


def put(store: Database, document: int, metadata: Mapping[str, Any] | None, *, has_file: bool) -> None:
    """Call it inside a transaction. Without `metadata` a document keeps what it has."""
    given = None if metadata is None else to_json(metadata)
    store.write(
        "INSERT INTO attributes VALUES (?, coalesce(?, '{}'), ?) ON CONFLICT(document) DO UPDATE SET "
        "metadata = coalesce(?, metadata), has_file = excluded.has_file",
        (document, given, has_file, given),
    )


def put_on(store: Database, paths: Iterable[str], metadata: Mapping[str, Any]) -> None:
    """Other metadata for documents that are there, in one transaction; what stays as it is is not written."""
    wanted = to_json(metadata)
    have = dict(store.read("SELECT path, metadata FROM documents JOIN attributes ON document = id"))
    others = [path for path in paths if have.get(path, NONE) != wanted]
    if others:
        with store.transaction():
            for path in others:
                store.write(
                    "INSERT INTO attributes SELECT id, ?, 1 FROM documents WHERE path = ? "
                    "ON CONFLICT(document) DO UPDATE SET metadata = excluded.metadata",
                    (wanted, path),
                )


def texts(store: Database) -> dict[str, str]:
    """The names of the documents without a file, with their SHA-256."""
    return dict(store.read("SELECT path, sha256 FROM documents JOIN attributes ON document = id WHERE NOT has_file"))


def passages_where(store: Database, where: Mapping[str, Any]) -> NDArray[np.int64]:
    """Ids of the passages of documents whose metadata has all of `where`, value for value. Raises UsageError."""
    import numpy as np

    to_json(where)
    with store.sound():
        values = [row[0] for row in store.read("SELECT DISTINCT metadata FROM attributes")]
        fitting = [value for value in values if _has(from_json(value), where)]
    rows = store.read(
        "SELECT p.id FROM passages p JOIN attributes a ON a.document = p.document "
        "WHERE a.metadata IN (SELECT value FROM json_each(?))",
        (json.dumps(fitting),),
    )
    return np.array([row[0] for row in rows], dtype=np.int64)


def _has(metadata: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(key in metadata and _same(metadata[key], value) for key, value in where.items())


def _same(one: object, other: object) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
