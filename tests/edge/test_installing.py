"""The command that is told for what is missing."""

from __future__ import annotations

import shlex
import subprocess
import sys
import venv
from importlib.metadata import requires
from pathlib import Path

import pytest

from edge import installing
from edge.errors import MissingExtra


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment in which edge would be installed."""
    folder = tmp_path / "edge-expert"
    folder.mkdir()
    monkeypatch.setattr(sys, "prefix", str(folder))
    return folder


def test_an_extra_is_reported_as_the_packages_that_it_pins() -> None:
    said = str(MissingExtra("onnxruntime-genai", "onnx"))
    assert said.startswith("onnxruntime-genai is not installed; run: ")
    assert shlex.split(said)[-1] == "onnxruntime-genai==0.18.0"
    everything = [line.partition(";")[0].strip() for line in requires("edge-expert") or []]
    for extra in ("gguf", "encoder", "hub", "convert", "tune", "starter", "all"):
        named = installing.requirements_of(extra)
        assert named
        assert set(named) <= set(everything)
        assert not any(name.startswith("edge-expert") for name in named)
    assert set(installing.requirements_of("encoder")) < set(installing.requirements_of("starter"))


@pytest.mark.parametrize(
    ("mark", "begins"),
    [
        ("pipx_metadata.json", "pipx inject edge-expert onnx"),
        ("uv-receipt.toml", f"uv pip install --python {shlex.quote(sys.executable)} onnx"),
        ("pyvenv.cfg", f"{shlex.quote(sys.executable)} -m pip install onnx"),
    ],
)
def test_the_command_is_that_of_the_tool_that_installed_edge(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, mark: str, begins: str
) -> None:
    (prefix / mark).touch()
    monkeypatch.setattr(installing, "find_spec", lambda _name: object())
    assert installing.install_command("onnx") == begins
    assert "--force" in installing.install_command("onnx", again=True).replace("--reinstall", "--force")


def test_a_python_without_pip_is_warned_of_uv(tmp_path: Path) -> None:
    """A real one."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    source = Path(installing.__file__).parents[1]
    code = (
        f"import sys; sys.path.append({str(source)!r})\n"
        "from edge.errors import MissingExtra; print(MissingExtra('x', 'y'))"
    )
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"x is not installed; run: uv pip install --python {python} x"
