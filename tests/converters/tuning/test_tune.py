"""Tuning from end to end on small random models: losses, kills, what is published, and what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tune_bases
from edge.errors import MissingExtra, StorageError, TuningError, TuningStopped, UsageError
from edge_converters import tune
from edge_converters.tuning.settings import TuneProgress
from edge_converters.tuning.tune import prepare

QUICK: dict[str, Any] = {"batch": 4, "epochs": 2.0, "evaluations": 4, "dropout": 0.1, "learning_rate": 1e-2}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tune_bases.make_base(tmp_path / "base")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tune_bases.write_examples(tmp_path / "data.jsonl")


def losses(adapter: Path) -> Any:
    return json.loads((adapter / "losses.json").read_text())


def test_a_peft_folder_with_its_card(base: Path, data: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = tmp_path / "mine"
    heard: list[TuneProgress] = []
    made = tune(base, data, out, progress=heard.append, **QUICK)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "losses.json",
        "losses.png",
    ]
    assert (out / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert not out.with_name("mine.tuning").exists()
    assert made.held_out_after is not None
    assert made.held_out_before is not None
    assert made.held_out_after < made.held_out_before
    assert made.loss_last < made.loss_first
    assert heard[-1].done == heard[-1].total == made.steps
    card = (out / "README.md").read_text()
    manifest = json.loads(Path(made.manifest).read_text())
    for digest in (manifest["base"]["sha256"]["model.safetensors"], manifest["options"]["data_sha256"]):
        assert digest in card
    assert f"{made.held_out_before:.4f} -> {made.held_out_after:.4f}" in card
    config = json.loads((out / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokens = torch.arange(5, 40)[None]
    before = plain(tokens).logits
    tuned = PeftModel.from_pretrained(plain, out)
    assert (tuned(tokens).logits - before).abs().max() > 0.01


def test_the_first_loss_is_that_of_a_plain_computation(base: Path, data: Path, tmp_path: Path) -> None:
    """transformers alone, one example at a time: packing lets no example see another, and no prompt is learnt."""
    import torch
    from transformers import AutoModelForCausalLM

    made = tune(base, data, tmp_path / "out", batch=64, epochs=1.0, dropout=0.0, held_out=[data])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for line in data.read_text().splitlines():
        question, answer = (turn["content"] for turn in json.loads(line)["messages"])
        asked = f"<|user|>\n{question}<|end|>\n<|assistant|>\n"
        tokens = _byte_tokens(base, asked + f"{answer}<|end|>")
        prompt = len(_byte_tokens(base, asked))
        logits = model(torch.tensor([tokens])).logits[0].log_softmax(-1).detach()
        for at in range(prompt, len(tokens)):
            total -= float(logits[at - 1, tokens[at]])
            count += 1
    assert made.loss_first == pytest.approx(total / count, abs=2e-4)
    assert made.held_out_before == pytest.approx(total / count, abs=2e-3)


def _byte_tokens(base: Path, text: str) -> list[int]:
    from tokenizers import Tokenizer

    ids: list[int] = Tokenizer.from_file(str(base / "tokenizer.json")).encode(text).ids
    return ids


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run that nobody disturbs makes of the same base and data."""
    folder = tmp_path_factory.mktemp("whole")
    base, data = tune_bases.make_base(folder / "base"), tune_bases.write_examples(folder / "data.jsonl")
    tune(base, data, folder / "out", **QUICK)
    return folder / "out"


@pytest.mark.parametrize("moment", ["step 1", "step 5", "while saving"])
def test_killed_and_run_again_it_has_the_same_losses(
    base: Path, data: Path, whole: Path, tmp_path: Path, moment: str
) -> None:
    script = tmp_path / "run.py"
    script.write_text(_KILLED)
    words = [sys.executable, str(script), str(base), str(data), str(tmp_path / "cut"), moment, json.dumps(QUICK)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "cut").exists()
    tune(base, data, tmp_path / "cut", **QUICK)
    assert losses(tmp_path / "cut") == losses(whole)
    weights = [folder / "adapter_model.safetensors" for folder in (whole, tmp_path / "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


_KILLED = """
import json, os, signal, sys
from pathlib import Path
import edge.system.offline
import edge_converters
edge.system.offline.silence()  # as the command line does: the run is in this very process
base, data, out, moment, settings = sys.argv[1:]
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def show(now):
    if now.stage == "tuning" and moment == f"step {now.done}":
        kill()
if moment == "while saving":
    import transformers
    saved = transformers.Trainer._save_rng_state
    transformers.Trainer._save_rng_state = lambda self, *_: kill() if self.state.global_step > 2 else saved(self, *_)
edge_converters.tune(Path(base), Path(data), Path(out), progress=show, **json.loads(settings))
"""


def test_stopped_it_saves_and_goes_on(base: Path, data: Path, whole: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    steps: list[int] = []
    with pytest.raises(TuningStopped, match=r"after step 3 of 8; everything is saved in .*cut\.tuning"):
        tune(base, data, cut, progress=lambda now: steps.append(now.done), stop=lambda: steps[-1:] >= [2], **QUICK)
    assert not cut.exists()
    with pytest.raises(UsageError, match="another rank; add --restart"):
        tune(base, data, cut, rank=2, **QUICK)
    seen: list[int] = []
    tune(base, data, cut, progress=lambda now: seen.append(now.done) if now.stage == "tuning" else None, **QUICK)
    assert min(seen) > 3
    assert losses(cut) == losses(whole)


def test_a_run_that_gets_no_better_ends_early_and_keeps_the_best(base: Path, data: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "learning_rate": 0.3, "schedule": "constant", "epochs": 20.0, "evaluations": 40}
    made = tune(base, data, tmp_path / "out", early_stopping_patience=2, **settings)
    held_out = [(entry["loss"], entry["step"]) for entry in losses(tmp_path / "out")["held_out"] if entry["step"]]
    assert made.stopped_early
    assert made.steps < 80
    assert min(held_out) == (made.held_out_after, made.kept_step)
    assert held_out[-3][1] == made.kept_step
    assert "stopped early" in (tmp_path / "out" / "README.md").read_text()


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    saved = transformers.TrainerCallback.on_step_begin

    def poison(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step == 5:
            next(p for p in kwargs["model"].parameters() if p.requires_grad).data.fill_(float("nan"))
        return saved(self, args, state, control, **kwargs)

    monkeypatch.setattr(transformers.TrainerCallback, "on_step_begin", poison)
    with pytest.raises(
        TuningError, match=r"the loss became nan in step 6, after losses of .*last good checkpoint is"
    ) as failure:
        tune(base, data, tmp_path / "out", **QUICK)
    checkpoint = Path(str(failure.value).rpartition(" is ")[2])
    assert checkpoint.name == "checkpoint-4"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "out").exists()


def test_a_base_that_computes_no_numbers_is_distinguished_from_a_bad_learning_rate(
    base: Path, data: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(TuningError, match="the held-out loss became nan in step 0, and that was the first"):
        tune(base, data, tmp_path / "out", **QUICK)
    config = tmp_path / "tune.toml"
    config.write_text("held_out = 0")
    with pytest.raises(TuningError, match="the loss became nan in step 1, and that was the first"):
        tune(base, data, tmp_path / "other", config=config, **QUICK)


def test_a_full_disk_keeps_the_last_checkpoint_and_goes_on(
    base: Path, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    saved = transformers.Trainer._save_rng_state

    def full(self: Any, folder: Any) -> None:
        if self.state.global_step > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(transformers.Trainer, "_save_rng_state", full)
        with pytest.raises(StorageError, match="the checkpoint of step 2 is whole"):
            tune(base, data, tmp_path / "out", **QUICK)
    tune(base, data, tmp_path / "out", **QUICK)
    assert losses(tmp_path / "out") == losses(whole)


def test_no_room_is_reported_before_the_run(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"checkpoints need .* are free"):
        tune(base, data, tmp_path / "out", **QUICK)


def test_a_folder_that_is_not_ours_is_not_replaced(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letters.txt").write_text("dear")
    with pytest.raises(StorageError, match="was not made by edge"):
        tune(base, data, out, **QUICK)
    assert [path.name for path in out.iterdir()] == ["letters.txt"]


def test_three_examples_are_too_few(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="2 examples to learn from, and fewer than 8"):
        prepare(base, tune_bases.write_examples(tmp_path / "few.jsonl", 3))


def test_an_example_that_is_too_long_is_named_or_left_out(base: Path, tmp_path: Path) -> None:
    file = tune_bases.write_examples(tmp_path / "data.jsonl", 20)
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "so " * 300}]
    long = {"messages": turns}
    file.write_text(file.read_text() + json.dumps(long) + "\n")
    with pytest.raises(TuningError, match=r"1 of 21 examples are longer than 512 tokens; .*data\.jsonl:21, has 9\d\d"):
        prepare(base, file)
    with pytest.raises(UsageError, match="made for 512"):
        prepare(base, file, max_length=600)
    assert prepare(base, file, skip_long=True).plan.left_out == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rang = 3", "'rang' is no setting of tuning; there are: rank"),
        ("rank = 'x'", "a whole number"),
        ("rank = 0", "rank is 0"),
        ("schedule = 'sine'", "cosine or linear or constant"),
        ("held_out = 1.5", "between 0 and 0.9"),
        ("targets = ['head']", "no modules called 'head'; it has: "),
        ("rank = ", "cannot be read as TOML"),
    ],
)
def test_settings_that_make_no_sense(base: Path, data: Path, tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "tune.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=said):
        prepare(base, data, config=config)


def test_keywords_win_over_the_toml_and_it_over_the_defaults(base: Path, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "tune.toml"
    config.write_text("rank = 4\nepochs = 2\ntargets = ['qkv_proj']")
    settings = prepare(base, data, config=config, epochs=5.0, seed=None).settings
    assert (settings.rank, settings.alpha, settings.epochs, settings.seed) == (4, 8, 5.0, 7)
    assert settings.targets == ("qkv_proj",)


def test_a_missing_package_is_named_with_its_pip_line(base: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    with pytest.raises(MissingExtra, match=r"bitsandbytes is not installed; run: .*install .*'bitsandbytes>=0.50.2'"):
        prepare(base, data, qlora=True)
    assert prepare(base, data).plan.steps > 0


def test_a_setting_of_an_older_version_is_taken_under_its_old_name(base: Path, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "tune.toml"
    config.write_text("patience = 5")
    assert prepare(base, data, config=config).settings.early_stopping_patience == 5
    assert prepare(base, data, config=config, patience=2).settings.early_stopping_patience == 2
