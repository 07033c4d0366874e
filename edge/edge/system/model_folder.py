"""A model is a folder that somebody else made: what its files name stays inside of it."""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath

from edge.errors import ModelError

NATIVE = re.compile(r"\.(?:so|dll|dylib|pyd)(?:\.[\d.]*)?$", re.IGNORECASE)
"""Names of libraries of native code."""


def is_inside(folder: Path, name: str) -> bool:
    """Whether `name`, as a file of a model names another, leads to something in its `folder`, on every system."""
    windows = PureWindowsPath(name)
    if "\0" in name or windows.anchor or windows.drive or ".." in windows.parts:
        return False
    return _leads_inside(folder, folder / name)


def check_links(folder: Path) -> None:
    """Raises ModelError for a symbolic link in a model's `folder` that leads out of it."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() and not _leads_inside(folder, path):
                raise ModelError(
                    f"{path} is a link that leads out of the model's folder; fetch the model again, or put the file "
                    "itself there"
                )


def _leads_inside(folder: Path, path: Path) -> bool:
    """The cache of the Hugging Face hub keeps the bytes beside its folders: snapshots/COMMIT/FILE -> blobs/HASH."""
    home = folder.resolve()
    snapshot = home.parent.name == "snapshots" and (home.parents[1] / "blobs").is_dir()
    target = path.resolve()
    return target.is_relative_to(home) or (snapshot and target.is_relative_to(home.parents[1] / "blobs"))
