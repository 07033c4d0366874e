from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import edge


@pytest.fixture(scope="session")
def smollm(smollm_path: Path) -> Iterator[edge.Model]:
    with edge.load(smollm_path, context=2048) as model:
        yield model
