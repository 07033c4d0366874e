"""`edge tune` from the command line: what a person types, sees and reads, on a small random model."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import tune_bases
from edge.errors import ModelNotFound
from edge_tui.cli.main import cli
from edge_tui.cli.reports.plot import draw

QUICK = ("--batch", 4, "--epochs", 2, "--learning-rate", 0.01)


def run(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune_bases.make_base(tmp_path_factory.mktemp("base") / "tiny-llama", "llama")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tune_bases.write_examples(tmp_path / "data.jsonl")


def test_it_prints_the_adapter_and_shows_the_losses(base: Path, data: Path, tmp_path: Path) -> None:
    done = run("tune", base, data, "-o", tmp_path / "mine", *QUICK)
    assert done.stdout.splitlines() == [str(tmp_path / "mine")]
    assert "tuning: " in done.stderr
    assert "┤" in done.stderr
    assert "●" in done.stderr
    assert "held out  " in done.stderr
    assert "examples" in done.stderr


def test_tuned_exported_and_proved_in_one_command(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    words = ("tune", base, data, "-o", out, *QUICK, "--export", "gguf", "-p", "f16", "--json")
    made = json.loads(run(*words).stdout)
    assert made["parity"]["passed"] is True
    assert made["export"]["path"] == str(tmp_path / "mine-f16.gguf")
    assert made["tuned"]["path"] == str(out)
    assert made["tuned"]["held_out_after"] < made["tuned"]["held_out_before"]
    for name in ("mine.manifest.json", "mine-f16.manifest.json", "mine-f16.parity.json"):
        assert (tmp_path / name).is_file()


def test_a_lora_to_swap_is_proved_too(base: Path, data: Path, tmp_path: Path) -> None:
    done = run("tune", base, data, "-o", tmp_path / "mine", *QUICK, "--export", "adapter")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "mine-lora.gguf")
    assert json.loads((tmp_path / "mine-lora.parity.json").read_text())["passed"] is True


def test_a_dry_run_says_what_it_takes_and_writes_nothing(base: Path, data: Path, tmp_path: Path) -> None:
    words = ("tune", base, data, "-o", tmp_path / "mine", "--rank", 4, "--batch", 4, "--dry-run")
    made: dict[str, Any] = json.loads(run(*words, "--json").stdout)
    assert made["settings"]["rank"] == 4
    assert made["settings"]["alpha"] == 8
    plan = made["plan"]
    assert plan["examples"] + plan["held_out"] == 16
    assert plan["tokens"] > plan["learnt_tokens"] > 0
    assert plan["steps"] > 0
    assert plan["memory_bytes"] > 0
    assert plan["seconds"] >= 0
    text = run(*words).stdout
    assert f"steps     {plan['steps']:,} in 3 epochs" in text
    assert "LoRA, rank 4, on down_proj, gate_proj, k_proj" in text
    assert [path.name for path in tmp_path.iterdir() if path.name != "edge-home"] == ["data.jsonl"]


def test_a_base_by_its_name_in_the_library(base: Path, data: Path, tmp_path: Path, edge_home: Path) -> None:
    (edge_home / "models").mkdir(parents=True)
    shutil.copytree(base, edge_home / "models" / "Tiny")
    assert json.loads(run("tune", "tiny", data, "-o", tmp_path / "mine", "--dry-run", "--json").stdout)
    (edge_home / "models" / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelNotFound, match="made for an engine and cannot be tuned"):
        run("tune", "other", data, "-o", tmp_path / "mine")
    with pytest.raises(ModelNotFound, match=r"no folder 'huge' to tune.*tiny"):
        run("tune", "huge", data, "-o", tmp_path / "mine")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_ctrl_c_in_a_terminal_saves_and_the_same_command_goes_on(base: Path, data: Path, tmp_path: Path) -> None:
    words = [str(word) for word in ("tune", base, data, "-o", tmp_path / "mine", *QUICK, "--epochs", 12)]
    command = [sys.executable, "-m", "edge_tui.cli.main", *words]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "120"})
    os.close(theirs)
    shown = b""
    while b"held out" not in shown:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # what Linux says of a terminal that nobody holds any more
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() == 130
    text = shown.decode(errors="replace")
    assert "saving after this step" in text
    assert "everything is saved in" in text
    assert "loss " in text
    assert list((tmp_path / "mine.tuning").glob("checkpoint-*/complete"))
    done = run(*words)
    assert done.stdout.splitlines() == [str(tmp_path / "mine")]
    assert not (tmp_path / "mine.tuning").exists()


def test_two_processes_tune_one_adapter(base: Path, data: Path, tmp_path: Path) -> None:
    """What `accelerate launch` does for two GPUs, here on two processes without any."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "edge_tui.cli.main"]
    words = [str(word) for word in ("tune", base, data, "-o", tmp_path / "mine", *QUICK, "--json")]
    settings = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launch, *words], capture_output=True, text=True, check=False, env=settings)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["tuned"]
    assert made["steps"] == 4
    assert made["held_out_after"] < made["held_out_before"]
    assert (tmp_path / "mine" / "adapter_model.safetensors").is_file()


def test_the_plot_has_its_ends_and_both_curves() -> None:
    rows = draw([(1, 4.0), (2, 2.0), (3, 1.0)], [(0, 4.0), (3, 1.0)], width=10, height=4)
    assert rows[0].startswith("4 ┤●")
    assert rows[3].startswith("1 ┤")
    assert rows[3].endswith("●")
    assert rows[-1].split() == ["0", "3"]
    assert any("\u2800" < sign <= "\u28ff" for row in rows for sign in row)
    assert draw([]) == []
    assert draw([(1, 2.0)])
