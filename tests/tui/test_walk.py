"""A walk through the app as a person takes it, in a real terminal with real models: from the first run to an export.

What stood on the screen is kept in the folder that pytest names (`--basetemp`), a text file for each stop.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tmux import TMUX, Tmux

pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed: the walk through the app was not taken")

EDGE = str(Path(sys.executable).parent / "edge")
MANUAL = """# The pump
## Maintenance
The pump is due for maintenance every ninety days. The seal is changed by the night engineer.
## Lamps
The green lamp means that all is well.
"""


@pytest.fixture
def home(starter_home: Path, stand_in_exports: Path, tmp_path: Path) -> Path:
    """A data directory with the starter models, a Phi-3 and an adapter for it, and nothing that was ever asked."""
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    for model in (starter_home / "models").iterdir():
        (home / "models" / model.name).symlink_to(model)
    (home / "models" / "phi.gguf").symlink_to(stand_in_exports / "f16.gguf")
    command = [EDGE, "adapters", "add", str(stand_in_exports / "lora.gguf"), "--name", "station"]
    subprocess.run(command, env={**os.environ, "EDGE_HOME": str(home)}, check=True, capture_output=True)
    return home


@pytest.fixture
def terminal(home: Path, tmp_path: Path) -> Iterator[Tmux]:
    terminal = start(home, tmp_path)
    yield terminal
    terminal.close()


def start(home: Path, folder: Path, *arguments: str) -> Tmux:
    """The app in a terminal of 120x40; a model that is named first answers, so that the walk is the same everywhere."""
    environment = {"EDGE_HOME": str(home), "HOME": str(folder), "EDGE_MODEL": "SmolLM2-135M-Instruct.Q4_1"}
    command = [EDGE, "chat", "--max-tokens", "40", *arguments]
    return Tmux(command, environment=environment, shots=folder / "walk")


@pytest.mark.timeout(900)
def test_from_the_first_run_to_an_export(terminal: Tmux, home: Path, tmp_path: Path) -> None:
    manuals = tmp_path / "manuals"
    manuals.mkdir()
    (manuals / "pump.md").write_text(MANUAL)

    # The first run says what is here, and that nothing leaves this machine.
    terminal.wait_for("SmolLM2")
    screen = terminal.wait_for("stay on this machine")
    terminal.shot("first-run")
    terminal.press("Escape")

    # Documents are added by a line, and a question is answered from them.
    terminal.wait_for("Ask your documents")
    terminal.enter(f"/add {manuals}")
    terminal.wait_for("1 added")
    terminal.enter("When is the pump due for maintenance?")
    screen = terminal.wait_for("Nearest in your documents")
    assert "every ninety days" in screen
    terminal.wait_for(r"● SmolLM2.*tok/s")
    terminal.shot("answered")

    # The citation opens the passage.
    terminal.press("C-o")
    screen = terminal.wait_for(r"\[1\] of \d")
    assert "The pump > Maintenance" in screen
    terminal.shot("citation")
    terminal.press("Escape")

    # Another model, then an adapter of it, in the middle of the conversation.
    terminal.enter("/model phi")
    terminal.wait_for("phi answers from now on")
    terminal.enter("/adapter station")
    terminal.wait_for("station answers from now on")
    terminal.enter("/index off")
    terminal.wait_for("without documents")
    terminal.enter("/new")
    terminal.enter("What does the green lamp mean?")
    terminal.wait_for("According to the station handbook")
    terminal.wait_for(r"● phi \+ station.*tok/s")
    terminal.shot("adapter")

    # One question to two sides.
    terminal.enter("/compare base|station Where is the spare key?")
    terminal.wait_for("leads back without one")
    screen = terminal.shot("compared")
    assert "According to the station handbook" in screen
    terminal.press("2")
    terminal.wait_for("Ask your documents")

    # The first chat is found again by a word of its answer, and goes on.
    terminal.enter("/search pump")
    terminal.wait_for("When is the pump due")
    terminal.shot("searched")
    terminal.press("Enter")
    screen = terminal.wait_for("every ninety days")
    terminal.shot("reopened")

    # And out.
    out = tmp_path / "pump-chat.md"
    terminal.enter(f"/export {out}")
    terminal.wait_for("Written to")
    assert "every ninety days" in out.read_text(encoding="utf-8")
    terminal.press("C-q")


@pytest.mark.timeout(600)
def test_a_kill_and_going_on_with_the_last_chat(home: Path, tmp_path: Path) -> None:
    """Resized in the middle, killed in the middle: what was on the screen is there when the chat is gone on with."""
    first = start(home, tmp_path)
    try:
        first.wait_for("Esc begins")
        first.press("Escape")
        first.wait_for(r"● SmolLM2")
        first.enter("Tell me a long story about a lighthouse.")
        first.wait_for(r"tok/s")
        for columns, rows in ((80, 24), (140, 45), (60, 20), (120, 40)):
            first.resize(columns, rows)
        first.wait_for("lighthouse.")
        screen = first.shot("streaming")
    finally:
        first.close()  # the server is killed, and the app with it
    again = start(home, tmp_path, "--continue")
    try:
        screen = again.wait_for("Tell me a long story about a lighthouse")
        assert "Ask your documents" in screen
    finally:
        again.close()
