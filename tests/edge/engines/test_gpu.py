"""GGUF models with layers on a GPU. The oracle is the same file on the processor. Skipped where llama.cpp finds no GPU;
the contract suite covers the rest, ONNX on CUDA included.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import edge
from edge import Message, Sampling
from edge.engines import gpu

pytestmark = pytest.mark.skipif(not gpu.gpus(), reason="llama.cpp finds no GPU here")

QUESTION = [Message("system", "Answer briefly."), Message("user", "Name three colours of the rainbow." * 20)]


def logits(path: Path, layers: int | Literal["all", "auto"] | None) -> tuple[Any, str, str]:
    """After the prompt; the text that follows, and where it was computed."""
    with edge.load(path, context=1024, gpu_layers=layers) as model:
        model.generate(QUESTION, sampling=Sampling(max_tokens=1))
        engine: Any = model.engine
        row = np.frombuffer(engine._logits(-1), np.float32).astype(np.float64)
        text = model.generate(QUESTION, sampling=Sampling(max_tokens=24, repeat_penalty=1.0)).text
        return row - np.log(np.exp(row).sum()), text, model.engine.device


@pytest.mark.parametrize(("layers", "reported"), [("all", "all layers"), (5, "5 layers"), (None, "all layers")])
def test_a_gpu_finds_what_the_processor_finds(
    smollm_path: Path, layers: int | Literal["all"] | None, reported: str
) -> None:
    expected, text, processor = logits(smollm_path, 0)
    found, spoken, device = logits(smollm_path, layers)
    assert processor.startswith("CPU")
    assert device == f"{gpu.gpus()[0][0]}, {reported}"
    assert 0 < (np.exp(expected) * (expected - found)).sum() < 0.1, "another processor, the same distribution"
    assert spoken[:20] == text[:20]


def test_auto_takes_as_many_layers_as_fit(smollm_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = gpu.gpus()[0][0]
    taken = {}
    for free in (10, 100, 150, 1000):
        monkeypatch.setattr(gpu, "gpus", lambda free=free: [(name, free * 1_000_000)])
        taken[free], _ = gpu.offloaded(smollm_path, "auto", context=1024, kv_type="f16")
    assert taken[10] == 0
    assert 0 < taken[100] < taken[150] <= 31
    assert taken[1000] == gpu.ALL


def test_the_weights_leave_main_memory(smollm_path: Path) -> None:
    """A process that computes on a GPU holds no weights of its own; what `fit` expects."""
    before = gpu.gpus()[0][1]
    with edge.load(smollm_path, context=1024, gpu_layers="all"):
        assert before - gpu.gpus()[0][1] > 0.7 * os.path.getsize(smollm_path)
