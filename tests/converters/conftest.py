"""Models to convert. The two with real weights and the LoRA are kept between runs, beside the starter models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

import standin


class TinyModel(Protocol):
    def __call__(self, architecture: str = "phi3", **config: Any) -> Path: ...


@pytest.fixture(scope="session")
def stand_in(starter_home: Path, smollm_path: Path) -> Path:
    """A Phi3ForCausalLM directory that speaks English: 135 M parameters, float16, byte-level BPE."""
    return standin.kept(starter_home / "stand-in", lambda out: standin.make_stand_in(smollm_path, out))


@pytest.fixture(scope="session")
def llama_stand_in(starter_home: Path, smollm_path: Path) -> Path:
    """The same weights as a LlamaForCausalLM."""
    return standin.kept(
        starter_home / "llama-stand-in", lambda out: standin.make_stand_in(smollm_path, out, architecture="llama")
    )


@pytest.fixture(scope="session")
def trained_lora(starter_home: Path, stand_in: Path) -> Path:
    """A PEFT directory trained on `stand_in`."""
    return standin.kept(starter_home / "lora", lambda out: standin.train_lora(stand_in, out))


@pytest.fixture
def tiny_model(tmp_path: Path) -> TinyModel:
    """Makes random models of two layers: tiny_model("llama", vocab_size=300)."""
    made = 0

    def make(architecture: str = "phi3", **config: Any) -> Path:
        nonlocal made
        made += 1
        return standin.make_tiny(tmp_path / f"{architecture}-{made}", architecture, **config)

    return make
