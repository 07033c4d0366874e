"""Merging: PEFT's merge_and_unload is the oracle, bit by bit; what does not fit is refused before a byte is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch
from safetensors.torch import load_file, save_file

import peft_oracle as peft
from edge.errors import ConversionError
from edge_converters.lora.merge import Merged, merge, open_weights
from edge_converters.weights.checkpoint import Checkpoint
from edge_converters.weights.tensor_chunks import is_finite
from peft_oracle import APART, CONV1D, FUSED, assert_same, grow, sources

TIED = {"tie_word_embeddings": True}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("phi3", {"target_modules": FUSED, "r": 8, "lora_alpha": 20}),
    "rslora": ("phi3", {"target_modules": FUSED, "use_rslora": True}),
    "patterns": (
        "phi3",
        {
            "target_modules": FUSED,
            "rank_pattern": {"down_proj": 4, r"layers\.0\.self_attn\.qkv_proj": 2},
            "alpha_pattern": {"o_proj": 3, "^model.layers.1.mlp.down_proj": 7},
        },
    ),
    "all-linear": ("phi3", {"target_modules": "all-linear"}),
    "regular expression": ("phi3", {"target_modules": r".*\.0\..*(o_proj|down_proj)"}),
    "excluded": ("phi3", {"target_modules": FUSED, "exclude_modules": ["layers.1.self_attn.o_proj"]}),
    "layers": ("phi3", {"target_modules": FUSED, "layers_to_transform": [1], "layers_pattern": "layers"}),
    "dora": ("llama", {"target_modules": APART, "use_dora": True}),
    "dora rslora": ("phi3", {"target_modules": FUSED, "use_dora": True, "use_rslora": True}),
    "mica": ("llama", {"target_modules": APART, "init_lora_weights": "mica"}),
    "velora": (
        "llama",
        {"target_modules": ["q_proj"], "velora_config": {"num_groups": 4, "init_type": "random", "scale": 1.0}},
    ),
    "conv1d": ("gpt2", {"target_modules": CONV1D}),
    "conv1d dora": ("gpt2", {"target_modules": CONV1D, "use_dora": True}),
    "bias all": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "bias": "all"}),
    "bias lora_only": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "bias": "lora_only"}),
    "lora_bias": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True, "lora_alpha": 20}),
    "conv1d bias": ("gpt2", {"target_modules": CONV1D, "bias": "all", "lora_bias": True}),
    "modules to save": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]}),
    "norms to save": ("phi3", {"target_modules": ["o_proj"], "modules_to_save": ["input_layernorm"]}),
    "head": ("llama", {"target_modules": ["q_proj", "lm_head"]}),
    "embedding": ("llama", {"target_modules": ["q_proj", "embed_tokens"]}),
    "embedding dora": ("llama", {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True}),
    "token rows": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": [3, 250, 7]}),
    "token rows by module": (
        "llama",
        {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [4, 2], "lm_head": [5]}},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_shape_of_lora_merges_to_the_bits_of_peft(variant: str, tiny_model: Any, tmp_path: Path) -> None:
    architecture, config = VARIANTS[variant]
    base = tiny_model(architecture)
    adapter = peft.make_adapter(base, tmp_path / "lora", **config)
    want = peft.merged_by_peft(base, [adapter.path])
    got = Merged(Checkpoint(base), sources(adapter.path))
    assert_same(got, want)
    [applied] = got.applied.adapters
    assert applied.modules == applied.of == len(adapter.modules)
    assert set(applied.ranks) == {rank for rank, _ in adapter.modules.values()}
    assert set(applied.scales) == {scale for _, scale in adapter.modules.values()}
    # The oracle could agree with us that the adapter does nothing.
    assert (peft.logits(want) - peft.logits(peft.load(base))).abs().max() > 1e-3


TIED_VARIANTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "head": ("llama", {"target_modules": ["q_proj", "lm_head"]}, True),
    "head of gpt2": ("gpt2", {"target_modules": [*CONV1D, "lm_head"]}, True),
    "embedding": ("llama", {"target_modules": ["q_proj", "embed_tokens"]}, True),
    "embedding dora": ("llama", {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True}, True),
    "head saved": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, True),
    "embedding saved": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, True),
    "rows of both": (
        "llama",
        {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [4, 2], "lm_head": [5]}},
        True,
    ),
    "tying asked for": (
        "llama",
        {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
        True,
    ),
    "saved and tied": (
        "llama",
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        False,
    ),
    "rows": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": [3, 250, 7]}, False),
    "untouched": ("llama", {"target_modules": ["q_proj"]}, False),
}


@pytest.mark.parametrize("variant", TIED_VARIANTS)
def test_tied_embeddings_part_when_only_one_of_them_changes(variant: str, tiny_model: Any, tmp_path: Path) -> None:
    # PEFT's merge changes the shared tensor and with it both; the oracle is the adapter in use, not merged.
    architecture, config, parts = TIED_VARIANTS[variant]
    base = tiny_model(architecture, **TIED)
    adapter = peft.make_adapter(base, tmp_path / "lora", **config)
    merge(base, sources(adapter.path), tmp_path / "out")
    model = peft.load(tmp_path / "out")
    assert (peft.logits(model) - adapter.logits).abs().max() < 2e-6
    assert model.config.tie_word_embeddings is not parts
    untied = Checkpoint(tmp_path / "out")
    assert ("lm_head.weight" in untied.tensors) is parts


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    ],
    ids=["modules to save", "saved embeddings", "lora on both"],
)
def test_a_grown_vocabulary_comes_with_the_adapter(
    config: dict[str, Any], tie: bool, tiny_model: Any, tmp_path: Path
) -> None:
    base = tiny_model("llama", tie_word_embeddings=tie)
    adapter = peft.make_adapter(base, tmp_path / "lora", prepare=grow, **config)
    (adapter.path / "tokenizer.json").write_text('{"of": "the adapter"}')
    (base / "tokenizer.json").write_text('{"of": "the base"}')
    merge(base, sources(adapter.path), tmp_path / "out")
    model = peft.load(tmp_path / "out")
    assert model.config.vocab_size == 260
    assert (peft.logits(model) - adapter.logits).abs().max() < 2e-6
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text()) == {"of": "the adapter"}
    if not tie:
        want = peft.merged_by_peft(base, [adapter.path], prepare=grow)
        assert_same(Merged(Checkpoint(base), sources(adapter.path)), want)


@pytest.mark.parametrize("kinds", [(False, False), (False, True), (True, False), (True, True)])
def test_several_adapters_add_up_by_their_weights(kinds: tuple[bool, bool], tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("llama")
    paths = [
        peft.make_adapter(base, tmp_path / f"lora{i}", seed=i, r=4 + i, target_modules=targets, use_dora=dora).path
        for i, (dora, targets) in enumerate(zip(kinds, (APART, ["q_proj", "down_proj"]), strict=True))
    ]
    for weights in ((1.0, 1.0), (0.3, -1.7)):
        got = Merged(Checkpoint(base), sources(*paths, weights=weights))
        want = peft.merged_by_peft(base, paths, weights=weights)
        if kinds[1]:
            # Before a DoRA that comes second PEFT takes the first out again and puts it back, and keeps the rounding.
            assert_close(got, want)
        else:
            assert_same(got, want)
        assert [applied.weight for applied in got.applied.adapters] == list(weights)


def assert_close(got: Merged, want: Any) -> None:
    """No further from PEFT than two units in the last place of the tensor's largest number."""
    for name, expected in want.state_dict().items():
        unit = torch.finfo(torch.float32).eps * 2.0 ** expected.abs().max().log2().floor()
        assert (got.read(name) - expected).abs().max() <= 2 * unit, name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_added_in_float32_and_written_as_halves(dtype: str, tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3", dtype=dtype)
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=FUSED, dtype=dtype)
    want = peft.merged_by_peft(base, [adapter.path])
    assert_same(Merged(Checkpoint(base), sources(adapter.path)), want)
    merge(base, sources(adapter.path), tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in written.items():
        assert torch.equal(value, want.state_dict()[name].to(getattr(torch, dtype))), name


def test_rows_have_the_bits_of_the_whole(tiny_model: Any, tmp_path: Path) -> None:
    config = {"vocab_size": 4200, "intermediate_size": 4200, "num_hidden_layers": 1}
    for architecture, targets in (("llama", [*APART, "embed_tokens"]), ("gpt2", [*CONV1D, "wte"])):
        base = tiny_model(architecture, **config)
        for dora in (False, True):
            path = peft.make_adapter(
                base, tmp_path / f"{architecture}-{dora}", target_modules=targets, use_dora=dora
            ).path
            got = Merged(Checkpoint(base), sources(path))
            if architecture == "llama":
                assert_same(got, peft.merged_by_peft(base, [path]))
            for name, info in got.tensors.items():
                if info.elements < 1 << 18:
                    continue  # one block, whole anyway
                whole, length = got.read(name), info.shape[0]
                for rows in (slice(0, 1), slice(length - 3, None), slice(length // 3, length // 2), slice(5, 5)):
                    assert torch.equal(got.read(name, rows), whole[rows]), (name, rows)
                pieces = [got.read(name, slice(start, start + 1000)) for start in range(0, length, 1000)]
                assert torch.equal(torch.cat(pieces), whole), name


def test_the_merged_directory_is_the_model_of_peft(tiny_model: Any, stand_in: Path, tmp_path: Path) -> None:
    base = tiny_model("phi3", tokenizer=stand_in, vocab_size=49152)
    model = peft.load(base)
    shutil.rmtree(base / "unused", ignore_errors=True)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="5MB")
    assert len(list(base.glob("*.safetensors"))) > 1
    (base / "pytorch_model.bin").write_bytes(b"not wanted")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=FUSED)
    seen: list[tuple[int, int]] = []
    export = merge(
        base, sources(adapter.path), tmp_path / "out", progress=lambda stage, done, total: seen.append((done, total))
    )
    out = tmp_path / "out"
    want = peft.merged_by_peft(base, [adapter.path])
    assert torch.equal(peft.logits(peft.load(out)), peft.logits(want))
    assert {file.name for file in out.iterdir()} == {file.name for file in base.iterdir()} - {"pytorch_model.bin"}
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"):
        assert (out / name).read_bytes() == (base / name).read_bytes(), name
    assert seen[-1][0] == seen[-1][1] == sum(info.nbytes for info in Checkpoint(base).tensors.values())
    manifest = json.loads(Path(export.manifest).read_text())
    assert manifest["applied"]["adapters"][0]["modules"] == 8
    assert export.kind == "merged"


def test_untouched_tensors_are_not_copied_and_no_adapter_is_the_base(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3", dtype="float16")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=["o_proj"])
    got = Merged(Checkpoint(base), sources(adapter.path))
    assert {name for name in got.tensors if got.touched(name)} == {f"{name}.weight" for name in adapter.modules}
    assert got.read("model.embed_tokens.weight").dtype == torch.float16
    assert got.read("model.layers.0.self_attn.o_proj.weight").dtype == torch.float32
    assert isinstance(open_weights(base), Checkpoint)
    with pytest.raises(ConversionError, match="nothing to merge"):
        merge(base, [], tmp_path / "out")


def test_a_base_without_the_trained_models_prefix_is_the_same_base(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("gpt2")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=CONV1D)
    want = Merged(Checkpoint(base), sources(adapter.path))
    tensors = load_file(base / "model.safetensors")
    bare = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    headless = shutil.copytree(base, tmp_path / "headless")
    save_file(bare, headless / "model.safetensors", metadata={"format": "pt"})
    got = Merged(Checkpoint(headless), sources(adapter.path))
    assert got.tensors.keys() == bare.keys()
    for name in want.tensors:
        assert torch.equal(got.read(name.removeprefix("transformer.")), want.read(name)), name


def test_a_base_that_holds_the_tied_tensor_twice_is_parted(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("llama", **TIED)
    tensors = load_file(base / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=["q_proj", "embed_tokens"])
    merge(base, sources(adapter.path), tmp_path / "out")
    assert (peft.logits(peft.load(tmp_path / "out")) - adapter.logits).abs().max() < 2e-6
    # transformers 5 sees by the weights that they are no longer tied, others go by the word of the config.
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_infinite_numbers_are_found_by_their_bits(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    for value in (0.0, -0.0, 1.0, limits.max, limits.min, limits.tiny, float("inf"), -float("inf"), float("nan")):
        block = torch.zeros(3, 2, dtype=dtype)
        block[2, 1] = value
        assert is_finite(block) is bool(torch.isfinite(block).all()), value
    assert not is_finite(torch.full((1,), -1, dtype=torch.int16).view(torch.float16))
    assert is_finite(torch.zeros(0, dtype=dtype))
