"""Which files a path means: folders are walked, hidden and foreign files left alone, with a word where it matters."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge.types import Failure
from edge_index.loaders import supported


@dataclass(slots=True)
class Found:
    files: list[Path] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    """The folders among the given paths."""
    skipped: list[Path] = field(default_factory=list)
    """Files in those folders whose format is not read."""
    failed: list[Failure] = field(default_factory=list)


def absolute(path: Path | str) -> Path:
    """The name under which a file stands in the index, however it was given."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def find_files(paths: Iterable[Path | str]) -> Found:
    """Absolute paths, each once, in order. Links to folders are not followed, so no loop is possible."""
    found = Found()
    for given in paths:
        path = absolute(given)
        if path.is_dir():
            found.roots.append(path)
            _walk(path, found)
        elif not path.exists():
            found.failed.append(Failure(str(path), f"{path} is not there; check the spelling"))
        elif not path.is_file():
            found.failed.append(Failure(str(path), f"{path} is neither a file nor a folder"))
        else:
            found.files.append(path)
    found.files = list(dict.fromkeys(found.files))
    return found


def _walk(root: Path, found: Found) -> None:
    def unreadable(error: OSError) -> None:
        found.failed.append(Failure(str(error.filename), f"{error.filename} cannot be opened: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            (found.files if supported(path) else found.skipped).append(path)
