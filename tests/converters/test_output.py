"""Exports appear whole or not at all, and their manifest tells the truth."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edge.errors import StorageError
from edge_converters.output import atomic_output, read_manifest, write_manifest
from edge_converters.types import AdapterSource


def test_a_file_appears_when_it_is_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "a.gguf"
    for text in ("one", "two"):
        with atomic_output(out) as partial:
            partial.write_text(text)
            assert not out.exists() or out.read_text() == "one"
        assert out.read_text() == text
        assert os.listdir(out.parent) == ["a.gguf"]


def test_a_failure_keeps_the_old_one_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a"
    out.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_output(out) as partial:  # noqa: PT012 (the block is what fails)
        partial.mkdir()
        (partial / "x").write_text("new")
        _ = 1 / 0
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_replaces_only_an_export_or_an_empty_one(tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()

    def publish(text: str) -> None:
        with atomic_output(out) as partial:
            partial.mkdir()
            (partial / "weights").write_text(text)
        write_manifest(out, "test", base=None, options={}, started=time.monotonic())

    publish("one")
    publish("two")
    assert (out / "weights").read_text() == "two"
    assert sorted(os.listdir(tmp_path)) == ["model", "model.manifest.json"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("precious")
    with pytest.raises(StorageError, match="other things in it"), atomic_output(tmp_path / "thesis"):
        pass
    assert (tmp_path / "thesis" / "chapter").read_text() == "precious"


def test_a_kill_leaves_nothing_that_looks_finished_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    code = (
        "import sys, time; from pathlib import Path; from edge_converters.output import atomic_output\n"
        "with atomic_output(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); print('now', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        with atomic_output(out) as partial:  # beside a run that is alive
            partial.write_text("ours")
        assert len(os.listdir(tmp_path)) == 2
        process.send_signal(signal.SIGKILL)
    out.unlink()
    assert [name.startswith(".") for name in os.listdir(tmp_path)] == [True]
    assert not psutil.pid_exists(process.pid)
    with atomic_output(out) as partial:
        partial.write_text("whole")
    assert os.listdir(tmp_path) == ["a.gguf"]


def test_a_disk_without_room_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"1000000\.0 GB are needed"), atomic_output(tmp_path / "a", needs=10**15):
        pytest.fail("it began all the same")
    assert os.listdir(tmp_path) == []


def test_the_manifest_says_what_was_made_from_what(tmp_path: Path) -> None:
    for name in ("base", "lora"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.safetensors").write_text(name)
    out = tmp_path / "out.gguf"
    out.write_bytes(b"weights")
    export = write_manifest(
        out,
        "gguf",
        base=tmp_path / "base",
        adapters=[AdapterSource(tmp_path / "lora", 0.5)],
        options={"precision": "f16"},
        applied=["128 of 128"],
        started=time.monotonic(),
    )
    assert export.manifest == str(tmp_path / "out.manifest.json")
    content = json.loads(Path(export.manifest).read_text())
    assert content == read_manifest(out)

    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    assert content["output"] == {"name": "out.gguf", "bytes": 7, "sha256": sha("weights")}
    assert export.sha256 == sha("weights")
    assert content["base"]["sha256"] == {"w.safetensors": sha("base")}
    [adapter] = content["adapters"]
    assert (adapter["weight"], adapter["sha256"]) == (0.5, {"w.safetensors": sha("lora")})
    assert content["options"] == {"precision": "f16"}
    assert content["applied"] == ["128 of 128"]
    assert content["versions"]["torch"].startswith("2.13.0")
