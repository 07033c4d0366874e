"""What tests of terminals share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short path: it is shown on screens of 80 columns, and pytest's own is long in a worker of several."""
    with tempfile.TemporaryDirectory(prefix="edge-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def home(starter_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of its own, with the starter models in it and a converted encoder shared with others."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(starter_home / "models")
    (home / "cache").mkdir()
    shared = starter_home / "cache" / "encoders"
    shared.mkdir(parents=True, exist_ok=True)
    (home / "cache" / "encoders").symlink_to(shared)
    monkeypatch.setenv("EDGE_HOME", str(home))
    return home
