"""What tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest


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
