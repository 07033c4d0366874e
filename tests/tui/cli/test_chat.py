"""What `edge chat` hands to the app; the app itself has its own tests."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge.system import paths
from edge.types import Sampling
from edge_tui.cli.inputs import resources
from edge_tui.cli.main import _run
from edge_tui.history.store import Store
from edge_tui.session.chat_history import LATEST

Run = Callable[..., tuple[int, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The app does not run: what it would have been given is kept."""
    from edge_tui.app import app
    from edge_tui.session import session

    kept: dict[str, Any] = {}

    def keep(open_model: Any, open_knowledge: Any, **named: Any) -> str:
        kept.update(named, open_model=open_model, open_knowledge=open_knowledge)
        return "session"

    monkeypatch.setattr(session, "Session", keep)
    monkeypatch.setattr(app, "run", lambda session, **named: kept.update(named, session=session))
    return kept


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command at something that calls itself a terminal; the exit code and what it said."""

    def run(*arguments: str) -> tuple[int, str]:
        error = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", Terminal())
            patch.setattr(sys, "stderr", error)
            return _run(arguments), error.getvalue()

    return run


@pytest.fixture
def home(starter_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(starter_home / "models")
    monkeypatch.setenv("EDGE_HOME", str(home))
    return home


def test_flags_and_settings_reach_the_app(
    home: Path,
    handed_over: dict[str, Any],
    at_terminal: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("EDGE_THEME", "nord")
    lora = tmp_path / "pirate.gguf"
    lora.touch()
    options = ("-s", "Be brief.", "-k", "7", "--max-tokens", "9", "-a", str(lora))
    assert at_terminal("chat", *options) == (0, "")
    assert handed_over["session"] == "session"
    assert handed_over["theme"] == "nord"
    assert handed_over["system"] == "Be brief."
    assert handed_over["rag"].k == 7
    assert handed_over["sampling"] == Sampling(max_tokens=9)
    assert handed_over["adapter"] == "pirate"


def test_nothing_heavy_is_opened_before_the_app_runs(
    home: Path,
    handed_over: dict[str, Any],
    at_terminal: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Model and index are opened by the app's worker, after its first frame."""
    opened: list[str] = []

    def open_index(path: Path, *_: Any, **__: Any) -> str:
        opened.append(str(path))
        return "index"

    model = Model(ScriptedEngine(["yes"]), name="scripted")
    monkeypatch.setattr(resources, "open_index", open_index)
    monkeypatch.setattr(resources, "model_loader", lambda _request: lambda: opened.append("model") or model)
    (tmp_path / "a.txt").write_text("A text.")
    assert at_terminal("chat", "--docs", str(tmp_path / "a.txt")) == (0, "")
    assert opened == []
    assert handed_over["documents"] == (tmp_path / "a.txt",)
    assert handed_over["open_knowledge"]() == "index"
    assert handed_over["open_model"]() is model
    assert opened[0].startswith(str(home / "cache" / "docs"))
    assert opened[1] == "model"


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--docs", "no-such"), "does not exist"), (("--index", "none"), "edge index add")]
)
def test_documents_that_are_not_there_are_said_before_the_app_runs(
    home: Path, handed_over: dict[str, Any], at_terminal: Run, arguments: tuple[str, ...], said: str
) -> None:
    status, error = at_terminal("chat", *arguments)
    assert status == 1
    assert said in error
    assert handed_over == {}


def test_what_is_switched_to_is_opened_with_the_settings_of_the_start(
    home: Path, handed_over: dict[str, Any], at_terminal: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import edge
    from edge.errors import KnowledgeError, ModelNotFound

    loaded: dict[str, Any] = {}
    monkeypatch.setattr(edge, "load", lambda path, **more: loaded.update(more, path=path) or Model(ScriptedEngine()))
    lora = tmp_path / "pirate.gguf"
    lora.touch()
    assert at_terminal("chat", "--context", "333", "--force", "-a", str(lora)) == (0, "")
    openers = handed_over["openers"]
    path, load = openers.model("smollm2")
    assert loaded == {}, "finding a model loads nothing"
    assert load().adapters == ()
    assert (loaded["path"], loaded["context"], loaded["force"]) == (path, 333, True)
    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert openers.adapter == str(lora)
    with pytest.raises(ModelNotFound, match="no model called 'absent'"):
        openers.model("absent")
    with pytest.raises(KnowledgeError, match="edge index add"):
        openers.index("absent")
    openers.index("default").close()


def test_an_index_that_another_encoder_made_is_refused_when_it_is_opened(
    home: Path, handed_over: dict[str, Any], at_terminal: Run, tmp_path: Path
) -> None:
    import numpy as np

    from edge.errors import EncoderError
    from edge.system import paths
    from edge_index import Index

    class Other:
        dim = 3

        def encode(self, texts: list[str]) -> Any:
            return np.ones((len(texts), 3), np.float32)

    (tmp_path / "a.txt").write_text("A text about pumps.")
    with Index.open(paths.indexes_dir() / "foreign", encoder=Other()) as index:
        index.add([tmp_path / "a.txt"])
    assert at_terminal("chat") == (0, "")
    with pytest.raises(EncoderError, match="edge index rebuild"):
        handed_over["openers"].index("foreign")


@pytest.mark.parametrize(
    ("arguments", "reopen"), [((), None), (("-c",), LATEST), (("--continue",), LATEST), (("--chat", "1"), 1)]
)
def test_the_chat_to_go_on_with_reaches_the_app(
    home: Path, handed_over: dict[str, Any], at_terminal: Run, arguments: tuple[str, ...], reopen: int | None
) -> None:
    with Store(paths.chats_file()) as store:
        store.create("Pumps")
    assert at_terminal("chat", *arguments) == (0, "")
    history = handed_over["history"]
    assert (history.on, history.reopens) == (True, reopen)


def test_a_chat_that_cannot_be_gone_on_with_is_said_before_the_app_runs(
    home: Path, handed_over: dict[str, Any], at_terminal: Run
) -> None:
    status, said = at_terminal("chat", "--chat", "9")
    assert (status, "there is no chat 9" in said) == (1, True)
    assert at_terminal("chat", "-c", "--chat", "1")[0] == 2
    status, said = at_terminal("chat", "-c", "--no-keep")
    assert (status, "--keep" in said) == (1, True)
    assert handed_over == {}


def test_chats_are_not_kept_where_a_flag_or_a_setting_says_so(
    home: Path, handed_over: dict[str, Any], at_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert at_terminal("chat", "--no-keep") == (0, "")
    assert not handed_over["history"].on
    monkeypatch.setenv("EDGE_KEEP_CHATS", "false")
    assert at_terminal("chat") == (0, "")
    assert not handed_over["history"].on
    assert at_terminal("chat", "--keep") == (0, "")
    assert handed_over["history"].on
    assert not (paths.home() / "chats.sqlite").exists()
