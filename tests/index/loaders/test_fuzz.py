"""A short run of tests/benchmarks/fuzz_loaders.py: damaged files cost sentences, never the process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from documents.fuzzing import LIMITS, fuzz
from documents.seeds import SEEDS
from edge_index.loaders.isolation.parent import Reader


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(LIMITS) as reader:
        yield reader


@pytest.mark.parametrize("suffix", SEEDS)
def test_mutants_cost_a_sentence_each(suffix: str, reader: Reader) -> None:
    outcome = fuzz(suffix, reader, count=60, seconds=60, seed=5)
    assert outcome.wrong == []
    assert outcome.total == 60
    assert outcome.crashed == 0
    assert outcome.text > 0, "the seed itself is read"
    assert outcome.peak <= LIMITS.memory
