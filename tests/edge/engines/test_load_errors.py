"""Files that llama.cpp refuses: the reason that it logs stands in the message, whatever was loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.engines.llamacpp.bindings import load_model
from edge.engines.llamacpp.engine import LlamaCppEngine
from edge.errors import AdapterError, ConversionError, ModelError
from edge.types import Adapter
from edge_converters.gguf.quantise import quantise
from edge_converters.parity.candidate_gguf import GgufCandidate
from gguf_files import seeds as gguf_seeds


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("seed") / "qwen.gguf"
    gguf_seeds.make_seed(out, "qwen2")
    return out


@pytest.fixture
def changed(seed: Path, tmp_path: Path) -> Callable[[bytes, bytes], Path]:
    def change(old: bytes, new: bytes) -> Path:
        data = seed.read_bytes()
        assert len(old) == len(new)
        assert old in data
        out = tmp_path / "changed.gguf"
        out.write_bytes(data.replace(old, new))
        return out

    return change


BROKEN = [
    (b"qwen2", b"qwenX", "unknown model architecture: 'qwenX'", "update llama-cpp-python"),
    (b"\x07\0\0\0\0\0\0\0default", b"\x07\0\0\0\0\0\0\0defauXX", "unknown pre-tokenizer type: 'defauXX'", "update"),
    (b"\x04\0\0\0\0\0\0\0gpt2", b"\x04\0\0\0\0\0\0\0gptX", "unknown tokenizer: 'gptX'", "update llama-cpp-python"),
    (b"\x04\0\0\0\0\0\0\0tiny", b"\x04\0\0\0\0\0\0\0phi3", "unordered_map::at", "under another name"),
]


@pytest.mark.parametrize(("old", "new", "reason", "advice"), BROKEN)
def test_the_engine_the_proof_and_the_quantiser_give_llama_cpps_reason(
    old: bytes, new: bytes, reason: str, advice: str, changed: Callable[[bytes, bytes], Path]
) -> None:
    path = changed(old, new)
    for load in (load_model, LlamaCppEngine, GgufCandidate):
        with pytest.raises(ModelError) as caught:
            load(path)  # type: ignore[operator]
        assert str(path) in str(caught.value)
        assert reason in str(caught.value)
        assert advice in str(caught.value)
    if "architecture" in reason:  # the quantiser needs no vocabulary
        with pytest.raises(ConversionError, match=reason):
            quantise(path, path.with_name("out.gguf"), "q4_0", None, lambda done, total: None)
    else:
        with pytest.raises(ModelError, match=reason):
            load_model(path, vocab_only=True)


@pytest.mark.parametrize("name", [b"blk.1.attn_k.weight", b"output_norm.weight"])
def test_a_missing_tensor_is_named(name: bytes, changed: Callable[[bytes, bytes], Path]) -> None:
    with pytest.raises(ModelError, match=f"llama.cpp says: .*'{name.decode()}' not found"):
        load_model(changed(name, name[:-8] + b"X" + name[-7:]))


def test_a_context_that_cannot_be_made_is_explained(seed: Path) -> None:
    with pytest.raises(ModelError, match="block size 32 does not divide n_embd_head_k=16"):
        LlamaCppEngine(seed, context=64, kv_type="q4_0", force=True)


def test_a_lora_of_another_shape_and_a_model_in_its_place(seed: Path, tmp_path: Path) -> None:
    import gguf
    import numpy as np

    lora = tmp_path / "lora.gguf"
    writer = gguf.GGUFWriter(lora, "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.zeros((4, 32), np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.zeros((64, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    engine = LlamaCppEngine(seed)
    try:
        with pytest.raises(AdapterError, match=r"'blk\.0\.attn_q\.weight' has incorrect shape"):
            engine.add_adapter(Adapter("lora", str(lora), 1.0))
        with pytest.raises(AdapterError, match=r"expect general\.type to be 'adapter'"):
            engine.add_adapter(Adapter("model", str(seed), 1.0))
    finally:
        engine.close()
    with pytest.raises(AdapterError, match="has incorrect shape"):
        GgufCandidate(seed, adapter=lora)
