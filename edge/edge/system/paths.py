"""Where state lives: in the platform's own places for data, cache and settings, or all of it in `EDGE_HOME`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from edge.errors import StorageError

STARTER_ENCODER = "all-MiniLM-L6-v2"
"""The text encoder, below `models_dir`, that is taken when none is named."""


def home() -> Path:
    """The data directory; not created by asking for it."""
    return _place("data")


def models_dir() -> Path:
    return home() / "models"


def adapters_dir() -> Path:
    return home() / "adapters"


def indexes_dir() -> Path:
    return home() / "indexes"


def calibrations_dir() -> Path:
    """What is known of each model's judgement, see `edge.rag.answerability`."""
    return home() / "calibrations"


def chats_file() -> Path:
    """The SQLite file with every chat that is kept, see `edge_tui.history`."""
    return home() / "chats.sqlite"


def comparisons_dir() -> Path:
    """Answers that `edge compare` keeps, and what they came to."""
    return home() / "comparisons"


def cache_dir() -> Path:
    """Files that can be made again at any time: KV caches, converted encoders and adapters, indexes of `--docs`."""
    return _place("cache")


def config_dir() -> Path:
    return _place("config")


def config_file() -> Path:
    """The settings; where those of an older version could not be moved here from the data directory, these."""
    file, old = config_dir() / "config.toml", home() / "config.toml"
    return old if not file.exists() and old.exists() else file


def _place(kind: Literal["data", "cache", "config"]) -> Path:
    override = os.environ.get("EDGE_HOME")
    if override:
        everything = Path(override).expanduser().absolute()
        return everything / "cache" if kind == "cache" else everything
    import platformdirs

    return Path(getattr(platformdirs.PlatformDirs("edge", appauthor=False), f"user_{kind}_dir"))


def ensure_dir(path: Path) -> Path:
    """Create a directory of ours with its parents and return it.

    Raises StorageError when it cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot create {path} ({error.strerror}); make it writable or set EDGE_HOME to a folder that is"
        ) from error
    if not os.access(path, os.W_OK):
        raise StorageError(f"cannot write to {path}; make it writable or set EDGE_HOME to a folder that is")
    return path
