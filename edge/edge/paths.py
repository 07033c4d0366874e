"""Where state lives: one data directory, `EDGE_HOME` or the platform's own."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import StorageError

STARTER_ENCODER = "all-MiniLM-L6-v2"
"""The text encoder, below `models_dir`, that is taken when none is named."""


def home() -> Path:
    """The data directory; not created by asking for it."""
    override = os.environ.get("EDGE_HOME")
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("edge", appauthor=False))


def models_dir() -> Path:
    return home() / "models"


def adapters_dir() -> Path:
    return home() / "adapters"


def indexes_dir() -> Path:
    return home() / "indexes"


def calibrations_dir() -> Path:
    """What is known of each model's judgement, see `edge.answerability`."""
    return home() / "calibrations"


def chats_file() -> Path:
    """The SQLite file with every chat that is kept, see `edge_tui.chats`."""
    return home() / "chats.sqlite"


def comparisons_dir() -> Path:
    """Answers that `edge compare` keeps, and what they came to."""
    return home() / "comparisons"


def cache_dir() -> Path:
    """Files that can be made again at any time: converted encoders, indexes of `--docs`."""
    return home() / "cache"


def config_file() -> Path:
    return home() / "config.toml"


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
