"""LoRAs in GGUF files against llama.cpp's own converter, and at work in llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge
import peft_oracle
import standin
import upstream
import vocabularies
from edge.errors import AdapterError, UsageError
from edge_converters.gguf.lora import lora_to_gguf
from edge_converters.lora.peft_adapter import Lora

TARGETS = {"phi3": peft_oracle.FUSED, "llama": peft_oracle.APART, "qwen2": peft_oracle.APART}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {name: vocabularies.write_bytes(standin.make_tiny(root / name, name, vocab_size=320)) for name in TARGETS}


@pytest.fixture(scope="module")
def converted(
    bases: dict[str, Path], starter_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """Our LoRA and upstream's: of fused and separate modules, in every precision, and of an input embedding."""
    root = tmp_path_factory.mktemp("loras")
    plain = {"r": 8, "lora_alpha": 12}
    settings: dict[str, tuple[str, str, dict[str, Any]]] = {
        "phi3": ("phi3", "f32", plain),
        "llama": ("llama", "f16", plain),
        "qwen2": ("qwen2", "bf16", plain),
        "wide": ("llama", "q8_0", {"r": 32, "lora_alpha": 16}),
        "embedding": ("llama", "f32", {**plain, "target_modules": ["embed_tokens", "q_proj", "lm_head"]}),
    }
    jobs = {}
    for name, (base, precision, config) in settings.items():
        config = {"target_modules": TARGETS[base], **config}
        adapter = peft_oracle.make_adapter(bases[base], root / name, save={"save_embedding_layers": False}, **config)
        jobs[name] = upstream.Job(bases[base], root / f"{name}.gguf", precision, adapter.path)
        lora_to_gguf(adapter.path, root / f"{name}-ours.gguf", base=bases[base], precision=precision)
    upstream.convert(upstream.sources(starter_home), list(jobs.values()))
    return {name: (root / f"{name}-ours.gguf", job.out) for name, job in jobs.items()}


@pytest.mark.parametrize("name", ["phi3", "llama", "qwen2", "wide", "embedding"])
def test_file_is_what_upstream_makes(converted: dict[str, tuple[Path, Path]], name: str) -> None:
    upstream.assert_same(*converted[name])


@pytest.mark.parametrize(
    "config",
    [
        {"r": 8, "lora_alpha": 12, "use_rslora": True},
        {"r": 8, "lora_alpha": 12, "rank_pattern": {"down_proj": 4}, "alpha_pattern": {"o_proj": 40}},
    ],
)
def test_scales_that_differ_are_in_the_effect(bases: dict[str, Path], tmp_path: Path, config: dict[str, Any]) -> None:
    adapter = peft_oracle.make_adapter(bases["phi3"], tmp_path / "lora", target_modules=peft_oracle.FUSED, **config)
    lora_to_gguf(adapter.path, tmp_path / "lora.gguf", base=bases["phi3"], precision="f32")
    fields, tensors = upstream.read_gguf(tmp_path / "lora.gguf")
    lora = Lora(adapter.path)
    names = {"self_attn.o_proj": "attn_output", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up"}
    for module, name in names.items():
        a, b = (_matrix(tensors[f"blk.1.{name}.weight.lora_{part}"]) for part in "ab")
        rank, scale = adapter.modules[f"model.layers.1.{module}"]
        found = lora.modules[f"model.layers.1.{module}"]
        expected = scale * lora.read(found.b).numpy() @ lora.read(found.a).numpy()
        assert b.shape[1] == rank
        np.testing.assert_allclose(fields["adapter.lora.alpha"] / rank * b @ a, expected, rtol=1e-5, atol=1e-7)


def _matrix(tensor: upstream.Tensor) -> Any:
    assert tensor.kind == "F32"
    return np.frombuffer(tensor.data, np.float32).reshape(tensor.shape[::-1])


def refused(adapter: Path, base: Path, message: str) -> None:
    out = adapter.parent / "lora.gguf"
    with pytest.raises(AdapterError, match=message) as caught:
        lora_to_gguf(adapter, out, base=base)
    assert not out.exists()
    assert "edge convert gguf BASE --adapter" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, "is a DoRA"),
        ({"modules_to_save": ["lm_head"]}, "replaces lm_head.weight whole"),
        ({"lora_bias": True}, "trains a bias"),
        ({"trainable_token_indices": {"embed_tokens": [3]}}, "replaces model.embed_tokens.weight whole"),
    ],
)
def test_what_a_gguf_lora_cannot_express_is_refused(
    bases: dict[str, Path], tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    adapter = peft_oracle.make_adapter(bases["phi3"], tmp_path / "lora", target_modules=peft_oracle.FUSED, **config)
    refused(adapter.path, bases["phi3"], message)


@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_embeddings_that_are_tied_are_refused(tmp_path: Path, module: str) -> None:
    """llama.cpp would crash on the one, for it adds it to the output too, and not find the other."""
    base = standin.make_tiny(tmp_path / "base", "llama", vocab_size=320, tie_word_embeddings=True)
    vocabularies.write_bytes(base)
    adapter = peft_oracle.make_adapter(
        base, tmp_path / "lora", target_modules=[module], save={"save_embedding_layers": False}
    )
    refused(adapter.path, base, "shares its weight with")


def test_an_adapter_of_another_base_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = peft_oracle.make_adapter(bases["llama"], tmp_path / "lora", target_modules=peft_oracle.APART)
    with pytest.raises(AdapterError, match="does not fit the base"):
        lora_to_gguf(adapter.path, tmp_path / "lora.gguf", base=bases["phi3"])
    with pytest.raises(UsageError, match="f32, f16, bf16, q8_0"):
        lora_to_gguf(adapter.path, tmp_path / "lora.gguf", base=bases["llama"], precision="q4_k_m")


def test_it_changes_what_the_stand_in_says_and_nothing_once_it_is_off(
    stand_in: Path, stand_in_exports: Path, trained_lora: Path, tmp_path: Path
) -> None:
    export = lora_to_gguf(trained_lora, tmp_path / "lora.gguf", base=stand_in)
    assert export.bytes < 15_000_000
    question, fact = standin.LESSONS[0]
    messages, short = [edge.Message("user", question)], edge.Sampling(max_tokens=40)
    with edge.load(stand_in_exports / "f16.gguf", context=512) as model:
        adapter = model.add_adapter(tmp_path / "lora.gguf", name="station")
        before = model.generate(messages, sampling=short).text
        assert fact in model.generate(messages, adapter=adapter.name, sampling=short).text
        assert model.generate(messages, sampling=short).text == before
    assert fact not in before
