from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import edge
import engines_under_test
import standin


@pytest.fixture(scope="session")
def smollm(smollm_path: Path) -> Iterator[edge.Model]:
    with edge.load(smollm_path, context=2048) as model:
        yield model


@pytest.fixture(scope="session")
def engine_files(starter_home: Path) -> engines_under_test.Files:
    """The tiny model that has learnt its lines, for both engines; made once and kept, as the starter models are."""
    return engines_under_test.Files(standin.kept(starter_home / "reciter", engines_under_test.make_files))
