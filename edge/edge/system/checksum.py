"""The SHA-256 of a file, read piece by piece."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from pathlib import Path


def sha256_of(path: Path) -> str:
    """In hexadecimal. Raises OSError when the file cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Checksums:
    """SHA-256 of large files by path, size and time of change, so that each is read once; in the JSON file `book`."""

    def __init__(self, book: Path) -> None:
        self._book = book

    def known(self, path: Path) -> str | None:
        """Of a file that did not change since it was read whole."""
        found = self._entries().get(str(path.resolve()))
        return str(found[-1]) if found is not None and found[:-1] == _stamp(path) else None

    def of(self, path: Path) -> str:
        """As `sha256_of`, remembered. Raises OSError when `path` cannot be read."""
        digest = self.known(path)
        if digest is None:
            stamp, digest = _stamp(path), sha256_of(path)
            entries = self._entries() | {str(path.resolve()): [*stamp, digest]}
            temporary = self._book.with_name(f"{self._book.name}.{os.getpid()}-{threading.get_ident()}.part")
            with suppress(OSError):  # then it is read again the next time
                self._book.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(json.dumps(entries), encoding="utf-8")
                temporary.replace(self._book)
        return digest

    def _entries(self) -> dict[str, list[object]]:
        try:
            found = json.loads(self._book.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, list) and v} if isinstance(found, dict) else {}


def _stamp(path: Path) -> list[object]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]
