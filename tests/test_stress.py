"""Chats and an index under several processes at once, some of them killed; the ten-minute form is
tests/benchmarks/stress.py."""

from __future__ import annotations

from pathlib import Path

from stress import run


def test_what_was_acknowledged_is_there_after_kills_beside_other_writers(tmp_path: Path) -> None:
    result = run(tmp_path / "stress", 5)
    assert (result.lost, result.wrong) == ([], []), str(result)
    assert result.kills >= 3
    assert result.operations > 20
