"""Adapters that are swapped in a base with slots, against peft in float32 and against the base without slots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import genai
from edge.errors import AdapterError, ConversionError
from edge_converters.adapter import export_adapter
from edge_converters.onnx.export import RECIPES, export_onnx

TOKENS = [1, 17, 33, 250, 8, 99, 120, 64, 5]


def test_a_trained_lora_goes_in_and_out(stand_in_exports: Path, stand_in: Path, trained_lora: Path) -> None:
    import numpy as np
    from transformers import AutoTokenizer

    text = "<|im_start|>user\nWhat does the red lamp mean?<|im_end|>\n<|im_start|>assistant\n"
    tokens = AutoTokenizer.from_pretrained(stand_in)(text)["input_ids"]
    model = genai.load(stand_in_exports / "onnx-fp32")
    active = (genai.adapters(model, {"lora": stand_in_exports / "lora.onnx_adapter"}), "lora")
    before = genai.logits(model, tokens)
    adapted, said = genai.logits(model, tokens, active), genai.greedy(model, tokens, 16, active)
    after = genai.logits(model, tokens)
    assert np.array_equal(before, after)
    plain = genai.reference(stand_in)
    assert np.abs(before - genai.reference_logits(plain, tokens)).max() < 1e-3
    wanted = genai.reference(stand_in, trained_lora)
    assert np.abs(adapted - genai.reference_logits(wanted, tokens)).max() < 1e-3
    assert genai.is_greedy(wanted, tokens, said)
    assert not genai.is_greedy(plain, tokens, said)


def test_a_file_of_its_own_is_the_same(
    stand_in_exports: Path, stand_in: Path, trained_lora: Path, tmp_path: Path
) -> None:
    """Without a base to write; the manifest says what it fits."""
    export = export_adapter(trained_lora, tmp_path / "lora.onnx_adapter", base=stand_in)
    assert Path(export.path).read_bytes() == (stand_in_exports / "lora.onnx_adapter").read_bytes()
    manifest = json.loads(Path(export.manifest).read_text())
    assert manifest["options"]["dtype"] == "float32"
    assert manifest["base"]["sha256"]["model.safetensors"]
    assert sorted(path.name for path in tmp_path.glob("lora*")) == ["lora.manifest.json", "lora.onnx_adapter"]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj", "lm_head"], "rank_pattern": {"qkv_proj": 3},
                  "alpha_pattern": {"gate_up_proj": 5}, "use_rslora": True}),
        ("qwen2", {"target_modules": ["q_proj", "v_proj", "down_proj"], "rank_pattern": {"v_proj": 7}}),
    ],
    ids=["fused", "apart"],
)  # fmt: skip
def test_ranks_scales_and_fused_modules(
    architecture: str, settings: dict[str, Any], tiny_model: Any, stand_in: Path, tmp_path: Path
) -> None:
    """Two adapters of different modules and ranks in one base; adapter and base each as peft has them."""
    import numpy as np

    base = tiny_model(architecture, tokenizer=stand_in)
    loras = {
        "one": genai.make_lora(base, tmp_path / "one", **settings),
        "all": genai.make_lora(base, tmp_path / "all", r=2),
    }
    files = {name: tmp_path / f"{name}.onnx_adapter" for name in loras}
    export_adapter(loras["one"], files["one"], base=base, base_out=tmp_path / "base", precision="fp32")
    export_adapter(loras["all"], files["all"], base=base)
    model = genai.load(tmp_path / "base")
    loaded = genai.adapters(model, files)
    for name in ("one", "all", "one"):
        wanted = genai.reference_logits(genai.reference(base, loras[name]), TOKENS)
        assert np.abs(genai.logits(model, TOKENS, (loaded, name)) - wanted).max() < 1e-4
    plain = genai.reference_logits(genai.reference(base), TOKENS)
    assert np.abs(genai.logits(model, TOKENS) - plain).max() < 1e-4
    assert np.abs(wanted - plain).max() > 1e-2


def test_an_int4_base_keeps_every_bit(tiny_model: Any, stand_in: Path, tmp_path: Path) -> None:
    """Quantised as without slots; the adapter itself stays in float32 and adds what peft adds."""
    import numpy as np

    base = tiny_model(tokenizer=stand_in, hidden_size=128)
    lora = genai.make_lora(base, tmp_path / "lora")
    export_adapter(lora, tmp_path / "lora.onnx_adapter", base=base, base_out=tmp_path / "slots", precision="int4")
    export_onnx(base, tmp_path / "plain", precision="int4")
    model = genai.load(tmp_path / "slots")
    active = (genai.adapters(model, {"lora": tmp_path / "lora.onnx_adapter"}), "lora")
    plain, adapted = genai.logits(model, TOKENS), genai.logits(model, TOKENS, active)
    assert np.array_equal(plain, genai.logits(genai.load(tmp_path / "plain"), TOKENS))
    wanted = genai.reference_logits(genai.reference(base, lora), TOKENS)
    effect = wanted - genai.reference_logits(genai.reference(base), TOKENS)
    assert np.corrcoef(adapted - plain, effect)[0, 1] > 0.9


def test_what_cannot_be_swapped_is_refused(tiny_model: Any, stand_in: Path, tmp_path: Path) -> None:
    base, other = tiny_model(tokenizer=stand_in), tiny_model(tokenizer=stand_in, hidden_size=96, num_attention_heads=6)
    out = tmp_path / "lora.onnx_adapter"
    refused = {
        "is a DoRA": genai.make_lora(base, tmp_path / "dora", use_dora=True),
        "adapts embeddings": genai.make_lora(base, tmp_path / "embedding", target_modules=["embed_tokens"]),
        "replaces whole tensors": genai.make_lora(base, tmp_path / "saved", modules_to_save=["lm_head"]),
    }
    for reason, lora in refused.items():
        with pytest.raises(AdapterError, match=f"{reason} .*merge it instead"):
            export_adapter(lora, out, base=base, base_out=tmp_path / "base")
    biased = tiny_model("qwen2", tokenizer=stand_in)
    with pytest.raises(AdapterError, match=r"has biases .*merge it instead"):
        export_adapter(
            genai.make_lora(biased, tmp_path / "b", target_modules=["q_proj"], lora_bias=True), out, base=biased
        )
    with pytest.raises(AdapterError):
        export_adapter(genai.make_lora(other, tmp_path / "other"), out, base=base)
    with pytest.raises(ConversionError, match="GPT2LMHeadModel"):
        export_adapter(refused["is a DoRA"], out, base=tiny_model("gpt2", tokenizer=stand_in))
    with pytest.raises(ConversionError, match=r"\.gguf or \.onnx_adapter"):
        export_adapter(refused["is a DoRA"], tmp_path / "lora.bin", base=base)
    with pytest.raises(ConversionError, match=r"only an \.onnx_adapter has a base"):
        export_adapter(refused["is a DoRA"], tmp_path / "lora.gguf", base=base, base_out=tmp_path / "base")
    assert not list(tmp_path.glob("lora.*"))
    assert not (tmp_path / "base").exists()


def test_a_base_that_fails_takes_the_adapter_with_it(
    tiny_model: Any, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is published last: it never stands there without the base that was asked for."""
    base = tiny_model(tokenizer=stand_in)
    lora = genai.make_lora(base, tmp_path / "lora")
    monkeypatch.setitem(RECIPES, "int4", {"algo_config": "magic"})
    with pytest.raises(ConversionError, match="cannot build"):
        export_adapter(lora, tmp_path / "lora.onnx_adapter", base=base, base_out=tmp_path / "base", precision="int4")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "edge-home") == ["lora", base.name]
