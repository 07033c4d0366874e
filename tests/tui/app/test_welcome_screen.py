"""The first-run screen: when it comes, what it finds, what Enter does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList

from edge import library
from edge.errors import ModelError
from edge.model import Model
from edge_tui.app.app import ChatApp
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.screens.welcome import WelcomeScreen, options
from edge_tui.hub import importing
from edge_tui.session import welcome
from edge_tui.session.events import Error, ModelImported
from edge_tui.session.session import Session
from edge_tui.session.welcome import Findings
from edge_tui.slash_commands.base import SlashCommand
from support.chat.fakes import MANUAL, FakeIndex, screen_text, send, session, until


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with a folder for documents, and nothing else."""
    home = tmp_path / "person"
    (home / "Documents").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.delenv("XDG_DOCUMENTS_DIR", raising=False)
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.chdir(home)
    return home


def in_ollama(home: Path, name: str) -> None:
    manifest = home / ".ollama/models/manifests/registry.ollama.ai/library" / name / "latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layers": []}))


def in_lm_studio(home: Path, name: str) -> None:
    file = home / ".lmstudio/models" / name
    file.parent.mkdir(parents=True)
    file.touch()


def test_models_of_other_programs_are_listed_as_import_takes_them(home: Path) -> None:
    assert importing.elsewhere() == []
    in_ollama(home, "phi3")
    in_lm_studio(home, "TheBloke/phi/phi-2.gguf")
    assert importing.elsewhere() == ["ollama:phi3:latest", "lmstudio:TheBloke/phi/phi-2.gguf"]
    with pytest.raises(ModelError, match="names 0 files"):
        importing.find(importing.elsewhere()[0])
    assert importing.find(importing.elsewhere()[1]).name == "phi-2"


def test_what_is_found_without_reading(home: Path, edge_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = home / "Documents"
    closed.chmod(0)
    found = welcome.look_around()
    assert found == Findings((), None, (), (home / "Documents",))
    closed.chmod(0o700)
    models = edge_home / "models"
    (models / library.STARTER_MODEL).mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(b"GGUF")
    (home / "work").mkdir()
    monkeypatch.chdir(home / "work")
    found = welcome.look_around()
    assert [model.name for model in found.models] == ["tiny"]
    assert found.folders == (home / "Documents", home / "work")
    assert welcome.shown(home / "work") == "~/work"
    assert welcome.shown(Path("/srv")) == "/srv"


def test_a_model_that_cannot_be_brought_is_said(home: Path) -> None:
    in_ollama(home, "phi3")
    (event,) = welcome.import_model("ollama:phi3:latest")
    assert isinstance(event, Error)
    assert "names 0 files of weights" in event.message


def test_the_lines_name_the_exact_commands() -> None:
    text = "\n".join(
        str(option.prompt) for option in options(Findings((), None, ("ollama:phi3",), ()), answering="", documents=0)
    )
    assert text.count("edge models pull starter") == 2
    assert "ollama:phi3  Enter links it; edge models import copies it" in text


def drive(
    chat: Session,
    play: Callable[[ChatApp, Any], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
    first: bool = True,
) -> None:
    async def main() -> None:
        app = ChatApp(chat, welcome=first)
        async with app.run_test(size=size, notifications=True) as pilot:
            await play(app, pilot)
        assert app.worker.join(20)

    asyncio.run(main())


def broken() -> Model:
    raise ModelError("there is no model yet; run: edge models pull starter")


async def welcomed(app: ChatApp, pilot: Any) -> OptionList:
    await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
    listed = app.screen.query_one(OptionList)
    await until(pilot, lambda: listed.options)
    return listed


async def choose(listed: OptionList, pilot: Any, each: str) -> None:
    """Move down to a line and press Enter."""
    for _ in listed.options:
        option = listed.highlighted_option
        if option is not None and (option.id or "").startswith(each):
            break
        await pilot.press("down")
    await pilot.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_an_empty_machine(home: Path, size: tuple[int, int]) -> None:
    knowledge = FakeIndex()
    (home / "Documents" / "a.md").touch()

    async def play(app: ChatApp, pilot: Any) -> None:
        listed = await welcomed(app, pilot)
        await until(pilot, lambda: "there is no model yet" in screen_text(app))
        text = screen_text(app)
        for part in ("Welcome to edge", "edge opens", "~/Documents", "Enter adds it", "Esc begins"):
            assert part in text
        await choose(listed, pilot, "pull")
        assert app.clipboard == "edge models pull starter"
        assert "Copied: edge models pull starter" in screen_text(app)
        await choose(listed, pilot, "add:")
        await until(pilot, lambda: "1 document can be asked now" in screen_text(app))
        assert list(knowledge.texts) == [str(home / "Documents")]
        await pilot.press("escape")
        assert app.focused is app.query_one(Prompt)

    drive(session(open_model=broken, knowledge=knowledge), play, size=size)


def test_r_looks_again_and_enter_takes_a_model(edge_home: Path) -> None:
    asked: list[str] = []

    async def play(app: ChatApp, pilot: Any) -> None:
        app.commands = {
            **app.commands,
            "model": SlashCommand("model", "NAME", "another", lambda _app, name: asked.append(name)),
        }
        listed = await welcomed(app, pilot)
        models = edge_home / "models"
        models.mkdir(parents=True)
        (models / "tiny.gguf").write_bytes(b"GGUF")
        await pilot.press("r")
        await until(pilot, lambda: "tiny · 4 B" in screen_text(app))
        assert "a small model to begin with" not in screen_text(app)
        await choose(listed, pilot, "model:")
        await until(pilot, lambda: asked == [str(models / "tiny.gguf")])

    drive(session(open_model=broken), play)


def test_a_model_of_another_program_is_linked_and_taken(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    asked: list[str] = []
    in_lm_studio(home, "TheBloke/phi/phi-2.gguf")
    monkeypatch.setattr(welcome, "import_model", lambda where: iter([ModelImported(where.rsplit("/")[-1])]))

    async def play(app: ChatApp, pilot: Any) -> None:
        app.commands = {
            **app.commands,
            "model": SlashCommand("model", "NAME", "another", lambda _app, name: asked.append(name)),
        }
        listed = await welcomed(app, pilot)
        await choose(listed, pilot, "import:")
        await until(pilot, lambda: asked == ["phi-2.gguf"])
        assert "Loading phi-2" in screen_text(app)

    drive(session(open_model=broken), play)


def test_another_folder_is_asked_for() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        listed = await welcomed(app, pilot)
        await choose(listed, pilot, "other")
        await until(pilot, lambda: "Add documents" in screen_text(app) and "completes" in screen_text(app))

    drive(session(knowledge=FakeIndex()), play)


def test_it_does_not_come_where_all_is_there_or_somebody_types() -> None:
    async def settled(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: app.session.state == "ready" and not app.job_views)
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await send(pilot, "/welcome")
        await until(pilot, lambda: "1 document  /documents shows" in screen_text(app))

    drive(session(knowledge=FakeIndex(MANUAL)), settled)

    async def typing(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: app.session.state == "ready" and not app.job_views)
        await pilot.pause()
        assert len(app.screen_stack) == 1

    real = ChatApp._begin

    def after_typing(app: ChatApp) -> None:
        app.query_one(Prompt).insert("my question")
        real(app)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChatApp, "_begin", after_typing)
        drive(session(knowledge=FakeIndex()), typing)
    drive(session(knowledge=FakeIndex()), typing, first=False)
