"""A program that embeds edge stays its own: nothing of its process is changed but what is documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edge.system.offline
import standin
from edge.errors import ContextOverflow, EdgeError, MissingExtra
from own_process_calls import fail, work

DRIVER = Path(__file__).parent / "support" / "host_driver.py"


def changes(home: Path, *arguments: str | Path) -> dict[str, Any]:
    """What a program finds changed in its process; of this one's environment it gets nothing but PATH."""
    done = subprocess.run(
        [sys.executable, DRIVER, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "EDGE_HOME": str(home), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    if "environment" in found:
        before, after = found["environment"]
        found["environment"] = {name for name in before | after if before.get(name) != after.get(name)}
    return found


@pytest.fixture
def home(starter_home: Path, tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(starter_home / "models")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pump.md").write_text("# Pump\n\nThe seal of the main pump is made of green silicone.\n")
    return tmp_path / "home"


def test_loading_asking_and_indexing_change_one_variable(smollm_path: Path, home: Path, tmp_path: Path) -> None:
    assert changes(home, "ask", smollm_path, tmp_path / "docs", tmp_path / "index") == {
        "environment": {"ORT_DISABLE_TELEMETRY"}
    }


def test_an_onnx_model_adds_what_its_library_adds(stand_in_exports: Path, home: Path, tmp_path: Path) -> None:
    model = stand_in_exports / "onnx-fp32"
    assert changes(home, "ask", model, tmp_path / "docs", tmp_path / "index") == {
        "environment": {"ORT_DISABLE_TELEMETRY", "ORT_LIB_PATH"}
    }


def test_converting_and_proving_change_nothing(smollm_path: Path, home: Path, tmp_path: Path) -> None:
    standin.save_tokenizer(smollm_path, tmp_path)
    base = standin.make_tiny(tmp_path / "base", tokenizer=tmp_path, vocab_size=49152)
    assert changes(home, "prove", base, tmp_path / "made.gguf") == {}


# A process of its own ----------------------------------------------------------------------------------------------


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as that of a host, with an environment in which nothing is offline."""
    monkeypatch.setattr(edge.system.offline, "_ours", False)
    for name in edge.system.offline.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("hosted")
def test_a_child_is_offline_and_calls_back(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[tuple[str, int]] = []

    def progress(word: str, number: int) -> str:
        heard.append((word, number))
        return "heard"

    seen = work("steps", progress=progress, adapters=[1, 2])
    assert (heard, seen["said"], seen["adapters"]) == ([("steps", 3)], "heard", [1, 2])
    assert seen["pid"] != os.getpid()
    assert edge.system.offline.ENVIRONMENT.items() <= seen["environment"].items()
    assert not edge.system.offline.ENVIRONMENT.keys() & os.environ.keys()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("hosted")
def test_errors_arrive_as_they_were() -> None:
    with pytest.raises(ContextOverflow, match="too long") as overflow:
        fail("overflow")
    assert (overflow.value.needed, overflow.value.limit) == (9, 4)
    with pytest.raises(MissingExtra, match="peft is not installed") as missing:
        fail("extra")
    assert missing.value.extra == "convert"
    with pytest.raises(ZeroDivisionError) as bug:
        fail("bug")
    assert "in fail" in "".join(bug.value.__notes__)
    with pytest.raises(EdgeError, match="the process that ran fail was killed by signal 9"):
        fail("kill")


@pytest.mark.usefixtures("hosted")
def test_what_a_callback_raises_ends_the_child_and_comes_out() -> None:
    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work("steps", progress=stop)


def test_in_a_process_of_ours_nothing_is_started() -> None:
    assert work("steps", progress=lambda *_: "heard")["pid"] == os.getpid()
