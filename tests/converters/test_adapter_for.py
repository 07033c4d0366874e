"""A LoRA that is converted for an exported model alone is the one that is converted for its original."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edge
import standin
import vocabularies
from edge.errors import AdapterError, EdgeError
from edge_converters.adapter import convert_for_engine, export_adapter
from edge_converters.gguf.export import export_gguf
from edge_converters.onnx.export import export_onnx

SIZES = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 320}


def make(folder: Path, architecture: str, **config: Any) -> Path:
    return vocabularies.write_bytes(standin.make_tiny(folder, architecture, **{**SIZES, **config}))


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("phi3", {}),
        ("llama", {"num_key_value_heads": 2}),
        ("llama", {"tie_word_embeddings": True}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
    ],
)
def test_for_a_gguf_model(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    base = make(tmp_path / "base", architecture, **config)
    lora = standin.make_lora(base, tmp_path / "lora")
    export_gguf(base, tmp_path / "model.gguf", precision="q8_0")
    expected = tmp_path / "lora.gguf"
    export_adapter(lora, expected, base=base)
    ready = convert_for_engine(lora, tmp_path / "model.gguf", cache=tmp_path / "cache")
    assert ready.path.read_bytes() == expected.read_bytes()
    assert ready.modules > 0
    made = ready.path.stat().st_mtime_ns
    assert convert_for_engine(lora, tmp_path / "model.gguf", cache=tmp_path / "cache") == ready
    assert ready.path.stat().st_mtime_ns == made


def test_for_an_onnx_model_with_slots_and_without(tmp_path: Path) -> None:
    base = make(tmp_path / "base", "phi3")
    lora = standin.make_lora(base, tmp_path / "lora")
    expected = tmp_path / "lora.onnx_adapter"
    export_adapter(lora, expected, base=base, base_out=tmp_path / "slots", precision="fp32")
    ready = convert_for_engine(lora, tmp_path / "slots", cache=tmp_path / "cache")
    assert ready.path.read_bytes() == expected.read_bytes()
    export_onnx(base, tmp_path / "plain", precision="fp32")
    with pytest.raises(AdapterError, match="has no slots for adapters"):
        convert_for_engine(lora, tmp_path / "plain", cache=tmp_path / "cache")


def test_an_adapter_of_another_base_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    base, other = make(tmp_path / "base", "phi3"), make(tmp_path / "other", "phi3", intermediate_size=128)
    lora = standin.make_lora(other, tmp_path / "lora")
    export_gguf(base, tmp_path / "model.gguf")
    llama = make(tmp_path / "llama", "llama")
    export_gguf(llama, tmp_path / "llama.gguf")
    for model in ("model.gguf", "llama.gguf"):
        with pytest.raises(EdgeError, match="take the base that it was trained on"):
            convert_for_engine(lora, tmp_path / model, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_loaded_model_takes_a_peft_folder_from_whoever_has_the_converters(tmp_path: Path) -> None:
    base = make(tmp_path / "base", "phi3")
    lora = standin.make_lora(base, tmp_path / "lora")
    export_gguf(base, tmp_path / "model.gguf")
    with edge.load(tmp_path / "model.gguf", context=64, kv_budget=0) as model:
        added = model.add_adapter(lora)
    assert (added.name, added.modules, added.ranks) == ("lora", 8, (4,))
    assert Path(added.path).suffix == ".gguf"
    alone = (
        "import sys, edge\nfrom edge.adapters import prepare_adapter\nfrom pathlib import Path\n"
        "try: prepare_adapter(edge.Adapter('lora', sys.argv[1], 1.0), Path(sys.argv[2]))\n"
        "except edge.AdapterError as error: print(error)\n"
        "print([name for name in sys.modules if name.startswith('edge_')])"
    )
    said = subprocess.run(
        [sys.executable, "-c", alone, lora, tmp_path / "model.gguf"], capture_output=True, text=True, check=True
    ).stdout
    assert "put `import edge_converters` before it" in said
    assert said.splitlines()[-1] == "[]"
