"""`edge convert` from the command line: small random models, real files, and what a person reads when it fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import standin
from edge.errors import AdapterError, ParityError, UsageError
from edge_tui.cli.main import cli


def run(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, smollm_path: Path) -> Path:
    """A random Phi-3 of two layers with a real tokenizer and chat template."""
    folder = tmp_path_factory.mktemp("base")
    standin.save_tokenizer(smollm_path, folder)
    return standin.make_tiny(
        folder / "tiny-phi", "phi3", tokenizer=folder, vocab_size=49152, hidden_size=64, dtype="float16"
    )


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return standin.make_lora(base, tmp_path_factory.mktemp("lora") / "tiny-lora")


def test_merge_makes_a_model_that_loads(base: Path, lora: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    out = tmp_path / "merged"
    export = json.loads(run("convert", "merge", base, "--adapter", lora, "-o", out, "--json").stdout)["export"]
    assert export["path"] == str(out)
    manifest = json.loads(Path(export["manifest"]).read_text())
    assert manifest["adapters"][0]["path"] == str(lora)
    merged = AutoModelForCausalLM.from_pretrained(out)
    original = AutoModelForCausalLM.from_pretrained(base)
    name = "model.layers.0.self_attn.qkv_proj.weight"
    assert not merged.state_dict()[name].equal(original.state_dict()[name])


def test_half_the_weight_is_half_the_change(base: Path, lora: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    name = "model.layers.1.mlp.down_proj.weight"
    found = {}
    for weight in ("0", "0.5", "1"):
        run("convert", "merge", base, "--adapter", f"{lora}={weight}", "-o", tmp_path / weight)
        found[weight] = load_file(tmp_path / weight / "model.safetensors")[name].float()
    change = found["1"] - found["0"]
    assert change.abs().max() > 0.01
    assert (2 * (found["0.5"] - found["0"]) - change).abs().max() < 2e-3


def test_gguf_is_proved_and_answers(base: Path, lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.gguf"
    done = run("convert", "gguf", base, "--adapter", lora, "-q", "f16", "-o", out)
    assert done.stdout.splitlines()[-1] == str(out)
    assert "FAILED" not in done.stdout
    report = json.loads((tmp_path / "mine.parity.json").read_text())
    assert report["passed"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.gguf", "mine.manifest.json", "mine.parity.json"]
    facts = json.loads(run("models", "show", out, "--json").stdout)
    assert facts["parity"]["passed"] is True
    assert facts["made_from"]["adapters"] == [str(lora)]


def test_an_export_that_fails_gets_a_loud_name(base: Path, lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.gguf"
    run("convert", "gguf", base, "-q", "f16", "-o", out, "--no-verify")
    assert not (tmp_path / "mine.parity.json").exists()
    with pytest.raises(ParityError, match=r"PARITY FAILED \(.*adapter"):
        run("convert", "parity", out, "--base", base, "--adapter", lora)
    assert json.loads((tmp_path / "mine.parity.json").read_text())["passed"] is False


def test_what_fails_on_export_is_set_aside(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_converters import verify
    from edge_converters.types import Check, Identity, Parity

    def fail(export: Path, **_options: Any) -> Parity:
        check = Check("chat template", False, None, None, "it is rendered differently")
        who = Identity(str(export), "0")
        return Parity(False, "gguf", "f16", (check,), {}, export=who, base=who)

    monkeypatch.setattr(verify, "check_parity", fail)
    words = ["convert", "gguf", str(base), "-q", "f16", "-o", str(tmp_path / "mine.gguf"), "--json"]
    done = CliRunner().invoke(cli, words)
    assert isinstance(done.exception, ParityError)
    assert re.search(r"chat template.*do not use .*mine\.failed\.gguf", str(done.exception))
    said = json.loads(done.stdout)
    assert said["export"]["path"] == str(tmp_path / "mine.failed.gguf")
    assert said["parity"]["checks"][0]["passed"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mine.failed.gguf",
        "mine.failed.manifest.json",
        "mine.failed.parity.json",
    ]


@pytest.mark.parametrize("kind", ["merge", "gguf", "onnx"])
def test_a_dry_run_says_what_it_takes_and_writes_nothing(kind: str, base: Path, lora: Path, tmp_path: Path) -> None:
    needs = json.loads(
        run("convert", kind, base, "--adapter", lora, "-o", tmp_path / "out", "--dry-run", "--json").stdout
    )
    assert needs["parameters"] > 49152 * 64
    assert needs["output_bytes"] > 49152 * 64 // 2
    assert needs["disk_bytes"] >= needs["output_bytes"]
    assert needs["memory_bytes"] > 0
    assert needs["seconds"] > 0
    assert "8 of 8" in needs["applied"][0]
    text = run("convert", kind, base, "--adapter", lora, "-o", tmp_path / "out", "--dry-run").stdout
    assert "8 of 8" in text
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_an_adapter(base: Path, lora: Path, tmp_path: Path) -> None:
    out, slots = tmp_path / "a.onnx_adapter", tmp_path / "slots"
    words = ("convert", "adapter", lora, "--base", base, "-o", out, "--dry-run", "--json")
    alone = json.loads(run(*words).stdout)
    assert alone["parameters"] == 2 * 4 * (64 + 128 + 64 + 64 + 64 + 256 + 128 + 64)
    assert alone["output_bytes"] == 2 * alone["parameters"]
    assert json.loads(run(*words, "--base-out", slots).stdout)["parameters"] > 49152 * 64
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_finds_the_wrong_base(lora: Path, tmp_path: Path) -> None:
    other = standin.make_tiny(tmp_path / "other", "phi3", hidden_size=32)
    with pytest.raises(AdapterError, match="tiny-lora"):
        run("convert", "gguf", other, "--adapter", lora, "-o", tmp_path / "out.gguf", "--dry-run")


def test_merge_without_an_adapter_is_wrong_usage(base: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["convert", "merge", str(base), "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "--adapter" in done.stderr


def test_a_precision_that_does_not_exist_is_said_with_those_that_do(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="q4_k_m"):
        run("convert", "gguf", base, "-q", "q9", "-o", tmp_path / "out.gguf")
    assert list(tmp_path.iterdir()) == []
