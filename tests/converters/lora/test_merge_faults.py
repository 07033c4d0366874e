"""What cannot be merged, kills and full disks: one sentence, and nothing is left that looks whole."""

from __future__ import annotations

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
from edge_converters.lora.merge import Merged, merge, open_weights
from edge_converters.types import AdapterSource
from edge_converters.weights.checkpoint import Checkpoint
from peft_oracle import APART, FUSED, assert_same, grow, sources
from small_disk import small_disk


def test_a_vocabulary_that_grew_on_one_side_only(tiny_model: Any, tmp_path: Path) -> None:
    config = {"target_modules": ["q_proj", "embed_tokens"], "prepare": grow}
    tied = tiny_model("llama", tie_word_embeddings=True)
    adapter = peft.make_adapter(tied, tmp_path / "tied", **config)
    merge(tied, sources(adapter.path), tmp_path / "out")
    assert (peft.logits(peft.load(tmp_path / "out")) - adapter.logits).abs().max() < 2e-6
    # PEFT does not save the head here, so that nobody knows its new rows.
    apart = tiny_model("llama", tie_word_embeddings=False)
    adapter = peft.make_adapter(apart, tmp_path / "apart", **config)
    said = refused(apart, AdapterSource(adapter.path), out=tmp_path / "refused")
    assert all(part in said for part in ("260 tokens", "lm_head.weight", "stays at 256"))


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
    fourth = peft.make_adapter(base, tmp_path / "d", seed=2, target_modules=["q_proj", "lm_head"]).path
    out = tmp_path / "out"
    assert "lm_head.weight" in refused(base, AdapterSource(first), AdapterSource(second), out=out)
    assert "lm_head.weight" in refused(base, AdapterSource(first), AdapterSource(third), out=out)
    assert "lm_head.weight" in refused(base, AdapterSource(third), AdapterSource(first), out=out)
    assert "weighted by 0.5" in refused(base, AdapterSource(first, 0.5), out=out)
    # PEFT saves the base's own head beside a LoRA on it; that replaces nothing.
    assert "lm_head.weight" in str(load_file(third / "adapter_model.safetensors").keys()).replace("base_layer.", "")
    got = Merged(Checkpoint(base), sources(third, fourth, weights=(0.5, 2.0)))
    assert_same(got, peft.merged_by_peft(base, [third, fourth], weights=(0.5, 2.0)))
    assert [applied.replaced for applied in got.applied.adapters] == [(), ()]


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
from edge_converters.lora.merge import merge
from edge_converters.types import AdapterSource

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


@pytest.mark.parametrize("announced", [True, False], ids=["seen before", "met in the middle"])
def test_a_full_disk_leaves_nothing(
    announced: bool, tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model("phi3")
    adapter = peft.make_adapter(base, tmp_path / "lora", target_modules=FUSED).path
    with small_disk(tmp_path / "disk", "256k") as disk:
        if not announced:
            usage = shutil.disk_usage(disk)
            monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 40))
        with pytest.raises(StorageError, match="full"):
            merge(base, sources(adapter), disk / "out")
        assert not list(disk.iterdir())
