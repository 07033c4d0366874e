"""Merging: PEFT's merge_and_unload is the oracle, bit by bit; what does not fit is refused before a byte is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch
from safetensors.torch import load_file, save_file

import peft_oracle as peft
from edge.errors import AdapterError, ConversionError, EdgeError, StorageError
from edge_converters.checkpoint import Checkpoint
from edge_converters.merge import Merged, merge, open_weights
from edge_converters.publish import AdapterSource
from peft_oracle import APART, CONV1D, FUSED

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
    "conv1d": ("gpt2", {"target_modules": CONV1D}),
    "conv1d dora": ("gpt2", {"target_modules": CONV1D, "use_dora": True}),
    "bias all": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "bias": "all"}),
    "bias lora_only": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "bias": "lora_only"}),
    "lora_bias": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True}),
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


def sources(*paths: Path, weights: tuple[float, ...] = ()) -> list[AdapterSource]:
    return [AdapterSource(path, weight) for path, weight in zip(paths, weights or (1.0,) * len(paths), strict=True)]


def assert_same(got: Merged, want: Any) -> None:
    """Every tensor of `got` has the bits that the model `want` has."""
    expected = want.state_dict()
    for name in got.tensors:
        value = got.read(name).float()
        assert value.shape == expected[name].shape, name
        worst = (value - expected[name]).abs().max().item()
        assert torch.equal(value, expected[name]), f"{name} differs by {worst}"
    tied = got.config.get("tie_word_embeddings", True)
    assert set(expected) - set(got.tensors) <= ({"lm_head.weight"} if tied else set())


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
    ("config", "save"),
    [
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, {}),
        ({}, {"save_embedding_layers": True}),
        ({"target_modules": ["q_proj", "embed_tokens", "lm_head"]}, {"save_embedding_layers": True}),
    ],
    ids=["modules to save", "saved embeddings", "lora on both"],
)
def test_a_grown_vocabulary_comes_with_the_adapter(
    config: dict[str, Any], save: dict[str, Any], tie: bool, tiny_model: Any, tmp_path: Path
) -> None:
    def grow(model: Any) -> None:
        torch.manual_seed(3)
        model.resize_token_embeddings(260, mean_resizing=False)

    base = tiny_model("llama", tie_word_embeddings=tie)
    config = {"target_modules": ["q_proj"], **config}
    adapter = peft.make_adapter(base, tmp_path / "lora", prepare=grow, save=save, **config)
    (adapter.path / "tokenizer.json").write_text('{"of": "the adapter"}')
    (base / "tokenizer.json").write_text('{"of": "the base"}')
    merge(base, sources(adapter.path), tmp_path / "out")
    model = peft.load(tmp_path / "out")
    assert model.config.vocab_size == 260
    assert (peft.logits(model) - adapter.logits).abs().max() < 2e-6
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text()) == {"of": "the adapter"}
    if not tie:
        assert_same(
            Merged(Checkpoint(base), sources(adapter.path)), peft.merged_by_peft(base, [adapter.path], prepare=grow)
        )


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
    config = {"vocab_size": 9001, "intermediate_size": 4500}
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


def refused(base: Path, *adapters: AdapterSource, out: Path) -> str:
    """The sentence of the refusal; nothing may be left, and both ways in refuse."""
    with pytest.raises(EdgeError) as caught:
        merge(base, adapters, out)
    assert not out.exists()
    assert not list(out.parent.glob(f"*{out.name}*"))
    with pytest.raises(type(caught.value)):
        open_weights(base, adapters)
    assert isinstance(caught.value, AdapterError | ConversionError)
    return str(caught.value)


def test_an_adapter_for_another_model_is_refused_with_both_sides_named(tiny_model: Any, tmp_path: Path) -> None:
    phi, llama = tiny_model("phi3"), tiny_model("llama")
    out = tmp_path / "out"
    fused = peft.make_adapter(phi, tmp_path / "fused", target_modules=FUSED).path
    apart = peft.make_adapter(llama, tmp_path / "apart", target_modules=APART).path
    said = refused(phi, AdapterSource(apart), out=out)
    assert all(name in said for name in ("10 of 14", "k_proj, q_proj, v_proj", "fused in qkv_proj"))
    assert "qkv_proj" in refused(llama, AdapterSource(fused), out=out)
    said = refused(tiny_model("phi3", hidden_size=128), AdapterSource(fused), out=out)
    assert "[64, 128]" in said
    assert "[128, 128]" in said
    said = refused(tiny_model("phi3", num_hidden_layers=1), AdapterSource(fused), out=out)
    assert "8 of 8" not in said
    assert "model.layers.1" in said
    saved = peft.make_adapter(llama, tmp_path / "saved", target_modules=["q_proj"], modules_to_save=["lm_head"]).path
    assert "300" in refused(tiny_model("llama", vocab_size=300), AdapterSource(saved), out=out)
    # The name alone does not matter: folders move.
    moved = shutil.copytree(phi, tmp_path / "moved")
    assert Merged(Checkpoint(moved), sources(fused)).applied.adapters[0].trained_on == str(phi)


def test_damaged_adapters_are_refused(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3")
    good = peft.make_adapter(base, tmp_path / "good", target_modules=FUSED).path
    weights = load_file(good / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers.0.mlp.down_proj"

    def variant(name: str, change: Any) -> Path:
        path = shutil.copytree(good, tmp_path / name)
        changed = dict(weights)
        change(changed)
        save_file(changed, path / "adapter_model.safetensors")
        return path

    def lose(*parts: str) -> Any:
        return lambda tensors: [tensors.pop(f"{prefix}.{part}.weight") for part in parts]

    out = tmp_path / "out"
    cases = {
        "no-b": (lose("lora_B"), "lora_B"),
        "no-module": (lose("lora_A", "lora_B"), "7 of 8 are there"),
        "extra": (lambda t: t.update({"base_model.model.model.layers.7.mlp.down_proj.bias": torch.ones(3)}), "1 of 9"),
        "unknown": (lambda t: t.update({f"{prefix}.lora_E": torch.ones(3)}), "lora_E"),
        "rank": (
            lambda t: t.update(
                {f"{prefix}.lora_{k}.weight": t[f"{prefix}.lora_{k}.weight"][s].contiguous() for k, s in _HALF}
            ),
            "rank 4",
        ),
        "nan": (lambda t: t[f"{prefix}.lora_A.weight"].__setitem__((0, 0), float("nan")), "undefined"),
    }
    for name, (change, expected) in cases.items():
        said = refused(base, AdapterSource(variant(name, change)), out=out)
        assert expected in said, (name, said)
        assert "adapter_model.safetensors" in said
    cut = shutil.copytree(good, tmp_path / "cut")
    os.truncate(cut / "adapter_model.safetensors", 3000)
    assert "cut short" in refused(base, AdapterSource(cut), out=out)


_HALF = (("A", slice(0, 4)), ("B", (slice(None), slice(0, 4))))


def test_adapters_that_contradict_each_other_are_refused(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("llama")
    first = peft.make_adapter(base, tmp_path / "a", target_modules=["q_proj"], modules_to_save=["lm_head"]).path
    second = peft.make_adapter(base, tmp_path / "b", target_modules=["q_proj"], modules_to_save=["lm_head"]).path
    third = peft.make_adapter(base, tmp_path / "c", target_modules=["q_proj", "lm_head"]).path
    out = tmp_path / "out"
    assert "lm_head.weight" in refused(base, AdapterSource(first), AdapterSource(second), out=out)
    assert "lm_head.weight" in refused(base, AdapterSource(first), AdapterSource(third), out=out)
    assert "lm_head.weight" in refused(base, AdapterSource(third), AdapterSource(first), out=out)
    assert "weight" in refused(base, AdapterSource(first, 0.5), out=out)


def test_a_bias_without_a_place_and_a_quantised_base_are_refused(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=["o_proj"], lora_bias=True).path
    assert "lora_bias" in refused(base, AdapterSource(adapter), out=tmp_path / "out")
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.0.self_attn.o_proj.weight"
    tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, base / "model.safetensors")
    plain = peft.make_adapter(tiny_model("phi3"), tmp_path / "plain", target_modules=["o_proj"]).path
    assert "quantised" in refused(base, AdapterSource(plain), out=tmp_path / "out")


def test_numbers_beyond_the_bases_type_are_refused(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3", dtype="float16")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=["o_proj"], lora_alpha=10_000_000).path
    with pytest.raises(ConversionError, match="bfloat16"):
        merge(base, sources(adapter), tmp_path / "out")
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_converters.merge import merge
from edge_converters.publish import AdapterSource

def progress(stage, done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

merge(Path(sys.argv[1]), [AdapterSource(Path(sys.argv[2]))], Path(sys.argv[3]), progress=progress)
"""


def test_a_kill_in_the_middle_leaves_nothing_that_looks_finished(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=FUSED).path
    home = tmp_path / "home"
    home.mkdir()
    out = home / "out"
    result = subprocess.run([sys.executable, "-c", KILLED, str(base), str(adapter), str(out)], check=False)
    assert result.returncode == -signal.SIGKILL
    left = list(home.iterdir())
    assert left, "the run was killed before it wrote anything"
    assert not out.exists()
    assert all(path.name.startswith(".out.partial-") for path in left)
    merge(base, sources(adapter), out)
    assert {path.name for path in home.iterdir()} == {"out", "out.manifest.json"}


@pytest.mark.parametrize("told", [True, False], ids=["seen before", "met in the middle"])
def test_a_full_disk_leaves_nothing(
    told: bool, tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model("phi3")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=FUSED).path
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(
            f"no small disk can be mounted here ({mounted.stderr.decode().strip()}): the full disk is NOT tested"
        )
    try:
        if not told:
            usage = shutil.disk_usage(disk)
            monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 40))
        with pytest.raises(StorageError, match="full"):
            merge(base, sources(adapter), disk / "out")
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
