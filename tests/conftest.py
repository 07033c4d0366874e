"""What every test may use: the starter models, fetched once through `edge models pull starter`, and no network."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import platformdirs
import pytest

import edge.offline

edge.offline.silence()

# A shell's background job ignores Ctrl-C and so would every process that a test starts; exec resets a handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def starter_home() -> Path:
    """A data directory that holds both starter models. Kept between runs (EDGE_TEST_HOME moves it)."""
    from edge_tui.starter import pull

    home = Path(os.environ.get("EDGE_TEST_HOME") or platformdirs.user_cache_dir("edge-tests", appauthor=False))
    pull(home / "models")
    return home


@pytest.fixture(scope="session")
def smollm_path(starter_home: Path) -> Path:
    """A real model: SmolLM2-135M-Instruct, Q4_1, GGUF."""
    return starter_home / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def minilm_dir(starter_home: Path) -> Path:
    """A real encoder: all-MiniLM-L6-v2 as sentence-transformers keeps it."""
    return starter_home / "models" / "all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def edge_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a data directory of its own, and none of the developer's settings."""
    for name in [name for name in os.environ if name.startswith("EDGE_") and name != "EDGE_TEST_HOME"]:
        monkeypatch.delenv(name)
    home = tmp_path / "edge-home"
    monkeypatch.setenv("EDGE_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections from Python; tests/test_offline.py looks at the system calls of native code."""

    def refuse(_socket: socket.socket, address: object) -> None:
        raise AssertionError(f"a test tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
