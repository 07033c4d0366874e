"""Small models to convert; those with real weights are in tests/conftest.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

import standin


class TinyModel(Protocol):
    def __call__(self, architecture: str = "phi3", **config: Any) -> Path: ...


@pytest.fixture
def tiny_model(tmp_path: Path) -> TinyModel:
    """Makes random models of two layers: tiny_model("llama", vocab_size=300)."""
    made = 0

    def make(architecture: str = "phi3", **config: Any) -> Path:
        nonlocal made
        made += 1
        return standin.make_tiny(tmp_path / f"{architecture}-{made}", architecture, **config)

    return make
