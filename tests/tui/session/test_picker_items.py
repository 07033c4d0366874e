"""What the pickers say of models, adapters and indexes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge.engines import memory_fit
from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge.system import paths
from edge_index import Index
from edge_tui.session import picker_items


@pytest.fixture
def models(edge_home: Path, smollm_path: Path) -> Path:
    folder = paths.models_dir()
    folder.mkdir(parents=True)
    (folder / "smollm.gguf").symlink_to(smollm_path)
    return folder


def test_a_models_line_tells_what_decides(models: Path) -> None:
    (models / "cut.gguf").write_bytes(b"GGUF\x03")
    cut, smollm = picker_items.models()
    assert (cut.name, smollm.name) == ("cut", "smollm")
    assert "truncated or damaged" in cut.problem
    assert smollm.key == str(models / "smollm.gguf")
    for part in ("98.4 MB", "Q4_1", "context 8,192", "fits: ", "parity not checked"):
        assert part in smollm.detail
    assert smollm.problem == ""


@pytest.mark.parametrize(("passed", "said"), [(True, "parity proved"), (False, "parity FAILED")])
def test_parity_is_what_the_proof_beside_the_model_says(models: Path, passed: bool, said: str) -> None:
    (models / "smollm.parity.json").write_text(json.dumps({"checks": [{"name": "logits", "passed": passed}]}))
    [smollm] = picker_items.models()
    assert said in smollm.detail
    assert bool(smollm.problem) is not passed


def test_a_model_that_does_not_fit_says_so(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_fit, "available_memory", lambda: 10_000_000)
    [smollm] = picker_items.models()
    assert smollm.problem.startswith("does not fit: needs")
    assert "10.0 MB are free" in smollm.problem


def test_an_adapters_line_tells_rank_base_and_whether_it_fits(
    stand_in_exports: Path, trained_lora: Path, smollm_path: Path
) -> None:
    kept = paths.adapters_dir()
    kept.mkdir(parents=True)
    shutil.copyfile(stand_in_exports / "lora.gguf", kept / "legal.gguf")
    shutil.copytree(trained_lora, kept / "peft")
    (kept / "swap.onnx_adapter").touch()
    (kept / "torn.gguf").write_bytes(b"GGUF\x03")
    mine = Model(ScriptedEngine(), name="stand-in", path=stand_in_exports / "f16.gguf")
    off, legal, peft, swap, torn = picker_items.adapters(mine)
    assert (off.key, off.detail) == ("off", "stand-in")
    assert "rank 8" in legal.detail
    assert "for phi3 · fits" in legal.detail
    assert peft.detail.startswith("rank 8")
    assert peft.detail.endswith("fits")
    assert "it is for onnxruntime-genai, and f16.gguf runs on llama.cpp" in swap.problem
    assert "is no GGUF LoRA or is damaged" in torn.problem
    other = Model(ScriptedEngine(), name="smollm", path=smollm_path)
    _, legal, peft, *_ = picker_items.adapters(other)
    assert "made for the architecture phi3" in legal.problem
    assert "does not fit" in peft.problem
    assert [item.name for item in picker_items.adapters(None)] == [
        "the plain base",
        "legal",
        "peft",
        "swap",
        "torn",
    ]


def test_an_adapter_of_another_size_does_not_fit(stand_in_exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same architecture with other shapes: the header of the base is what is lied about."""
    from dataclasses import replace

    from edge.engines.llamacpp import gguf_header
    from edge_tui.facts.adapter_facts import misfit

    lora, base = stand_in_exports / "lora.gguf", stand_in_exports / "f16.gguf"
    assert misfit(lora, base) is None
    header = gguf_header.read_gguf_header(base)
    wider = {name: replace(t, shape=tuple(2 * n for n in t.shape)) for name, t in header.tensors.items()}
    monkeypatch.setattr(gguf_header, "read_gguf_header", lambda path: replace(header, tensors=wider))
    assert "made for another size of blk." in (misfit(lora, base) or "")
    fewer = {name: t for name, t in header.tensors.items() if "attn_" not in name}
    monkeypatch.setattr(gguf_header, "read_gguf_header", lambda path: replace(header, tensors=fewer))
    assert "which f16.gguf does not have" in (misfit(lora, base) or "")


def test_an_indexs_line_counts_documents_and_passages(minilm_dir: Path, tmp_path: Path) -> None:
    from edge_index.encoders.encoder import Encoder

    (tmp_path / "pump.md").write_text("# Pump\n\nReplace the seal every 4,000 hours.\n")
    with Index.open(paths.indexes_dir() / "pumps", encoder=Encoder.open(minilm_dir)) as index:
        index.add([tmp_path / "pump.md"])
    (paths.indexes_dir() / "torn").mkdir()
    (paths.indexes_dir() / "torn" / "index.sqlite").write_bytes(b"no database at all" * 100)
    off, pumps, torn = picker_items.indexes()
    assert (off.key, off.name) == ("off", "no documents")
    assert pumps.name == "pumps"
    assert pumps.detail.startswith("1 document · 1 passage ·")
    assert torn.problem
