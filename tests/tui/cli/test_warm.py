"""`edge index warm` from the command line, with the starter models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MANUAL = """# Pump

The shaft seal of the pump is replaced every 4,000 hours of operation, and close to it stands the name of the maker. It
is the only part that wears out in normal use; everything else lasts as long as the house that the pump was built for.

# Fan

The fan is cleaned every week with a dry brush. Nobody may open its cover while the belt is moving, not even for a look,
and whoever works on it hangs a red card on the switch and takes the key of the cabinet with them until they are done.
"""


@pytest.fixture
def home(tmp_path: Path, starter_home: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(starter_home / "models")
    (tmp_path / "manual.md").write_text(MANUAL)
    return tmp_path / "home"


def edge(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_tui.cli.main", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env={**os.environ, "EDGE_HOME": str(home), **environment},
        check=False,
    )


def test_a_warm_index_is_read_at_once_and_only_once(home: Path) -> None:
    assert "edge index add" in edge(home, "index", "warm").stderr
    assert edge(home, "index", "add", str(home.parent / "manual.md")).returncode == 0
    first = edge(home, "index", "warm", "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert (report["passages"], report["read"], report["known"], report["full"]) == (2, 2, 0, False)
    assert report["bytes"] > 1_000_000
    assert "A passage takes some" in first.stderr
    assert edge(home, "index", "warm").stdout == "2 of 2 passages are ready, 0 of them read now.\n"
    asked = edge(home, "ask", "When is the shaft seal replaced?", "--json", "--max-tokens", "8", "--index", "default")
    usage = json.loads(asked.stdout)["usage"]
    assert usage["restored_tokens"] == usage["cached_tokens"] > 60


def test_without_a_budget_nothing_is_kept(home: Path) -> None:
    assert edge(home, "index", "add", str(home.parent / "manual.md")).returncode == 0
    done = edge(home, "index", "warm", EDGE_KV_BUDGET="0")
    assert done.stdout.startswith("0 of 2 passages are ready, 0 of them read now; there is no room")
    asked = edge(home, "ask", "When is the seal replaced?", "--json", "--max-tokens", "4", EDGE_KV_BUDGET="0")
    assert json.loads(asked.stdout)["usage"]["restored_tokens"] == 0
    assert not (home / "cache" / "kv").exists()
    small = json.loads(edge(home, "index", "warm", "--json", EDGE_KV_BUDGET="0.004").stdout)
    assert (small["read"], small["full"]) == (1, True), "what is there is not driven out by what comes after"


def test_a_disk_that_cannot_be_written_is_named(home: Path) -> None:
    assert edge(home, "index", "add", str(home.parent / "manual.md")).returncode == 0
    (home / "cache" / "kv").write_text("a file stands where the folder should")
    done = edge(home, "index", "warm")
    assert "the KV cache of a prompt cannot be kept in" in done.stdout
    assert "raise kv_budget" not in done.stdout
