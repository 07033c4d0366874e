"""config.toml changed in place: comments, order and blank lines stay as a person wrote them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edge.errors import StorageError, UsageError
from edge.settings import read_config
from edge.system.paths import ensure_dir


def set_value(file: Path, table: str | None, key: str, value: object) -> None:
    """Write one entry, in `table` or above all tables. Raises UsageError for a file that is no TOML."""
    document = _parse(file)
    _table(document, table)[key] = value
    _write(file, document.as_string())


def unset_value(file: Path, table: str | None, key: str) -> bool:
    """Take one entry out; False where it does not stand there."""
    document = _parse(file)
    if table is not None and not isinstance(document.get(table), dict):
        return False
    entries = _table(document, table)
    if key not in entries:
        return False
    del entries[key]
    _write(file, document.as_string())
    return True


def create(file: Path, text: str) -> None:
    """Write a new file, for nobody else to read."""
    _write(file, text)


def _parse(file: Path) -> Any:
    import tomlkit

    read_config(file)  # raises in our words
    return tomlkit.parse(file.read_text(encoding="utf-8") if file.exists() else "")


def _table(document: Any, name: str | None) -> Any:
    import tomlkit

    if name is None:
        return document
    found = document.setdefault(name, tomlkit.table())
    if not isinstance(found, dict):
        raise UsageError(f"{name} is no table in config.toml; correct it with: edge config edit")
    return found


def _write(file: Path, text: str) -> None:
    """Whole or not at all. A link, as people keep who have their settings in a repository, stays one."""
    target = file.resolve()
    ensure_dir(target.parent)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{file} cannot be written ({error.strerror}); make it writable") from error
