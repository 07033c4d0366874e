"""Hundreds of broken models, really loaded: no exception of our own, and llama.cpp stays alive.

The whole run is tests/benchmarks/fuzz_gguf.py.
"""

from __future__ import annotations

from pathlib import Path

from gguf_files import fuzzing as gguf_fuzzing
from gguf_files import seeds as gguf_seeds


def test_mutated_headers_kill_nothing(tmp_path: Path) -> None:
    seeds = [gguf_seeds.make_seed(tmp_path / f"{kind}.gguf", kind) for kind in ("phi3", "llama", "qwen2")]
    count = gguf_fuzzing.run(seeds, tmp_path, 400)
    assert not count.ours
    assert not count.crashed
    assert not count.hung
    # The sample is worth something only while part of it goes all the way.
    assert count.refused > 100
    assert count.ran > 20
