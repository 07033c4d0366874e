"""Completing slash commands: what is offered, and what the keys do with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult

from edge.engines.scripted import ScriptedEngine
from edge_tui.app.app import ChatApp
from edge_tui.app.input.completion_list import CompletionList
from edge_tui.app.input.completions import Completion, completions
from edge_tui.app.input.prompt import Prompt
from edge_tui.slash_commands.base import SlashCommand
from edge_tui.slash_commands.registry import all_commands
from edge_tui.slash_commands.typed_paths import fitting, fitting_last
from support.chat.fakes import FakeIndex, click, screen_text, session, until


def nothing(_app: Any, _argument: str) -> None: ...


COMMANDS = {
    command.name: command
    for command in (
        SlashCommand("add", "PATH…", "add documents", nothing, lambda _app, begun: [f"{begun}x/", f"{begun}y"]),
        SlashCommand("adapter", "[NAME]", "another LoRA", nothing),
        SlashCommand("help", "", "show this", nothing),
    )
}


def offered(text: str) -> list[str]:
    def arguments(command: SlashCommand, begun: str) -> Any:
        return command.complete(None, begun) if command.complete else ()  # type: ignore[arg-type]

    return [each.line for each in completions(text, COMMANDS, arguments)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("/", ["/add ", "/adapter ", "/help"]),
        ("/ad", ["/add ", "/adapter "]),
        ("/AD", ["/add ", "/adapter "]),
        ("/el", ["/help"]),
        ("/help", []),
        ("/add", ["/add "]),
        ("/add /a", ["/add /ax/", "/add /ay"]),
        ("/adapter x", []),
        ("/nonsense", []),
        ("how is /add used?", []),
        (" /ad", []),
        ("/add\nand more", []),
        ("", []),
    ],
)
def test_what_is_offered(text: str, lines: list[str]) -> None:
    assert offered(text) == lines


def test_paths_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my docs").mkdir()
    for name in ("manual.md", "map.md", ".hidden", "my docs/a b.txt"):
        (tmp_path / name).touch()
    assert fitting(f"{tmp_path}/ma") == [f"{tmp_path}/manual.md", f"{tmp_path}/map.md"]
    assert fitting("~/") == ["~/manual.md", "~/map.md", "~/my docs/"]
    assert fitting("~") == ["~/"]
    assert fitting("~/.h") == ["~/.hidden"]
    assert fitting("~/", 1) == ["~/manual.md"]
    assert fitting(f"{tmp_path}/none/x") == []
    assert fitting(f"{tmp_path}/\0") == []
    assert fitting_last("~/my docs/") == ["~/my docs/a b.txt"]
    assert fitting_last("/x.md ~/my\\ d") == ["/x.md ~/my\\ docs/"]


def test_the_list_in_an_app_of_its_own() -> None:
    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield CompletionList()

    async def main() -> None:
        app = Host()
        async with app.run_test(size=(60, 10)) as pilot:
            listed = app.query_one(CompletionList)
            assert not listed.display
            listed.offer([Completion("/a ", "/a [b]", "first\x1b"), Completion("/c", "/c", "second", True)])
            await pilot.pause()
            assert "/a [b]  first" in screen_text(app)
            assert "/c      second" in screen_text(app)
            listed.move(-1)
            assert listed.chosen == Completion("/c", "/c", "second", True)
            listed.offer(())
            await pilot.pause()
            assert not listed.display
            assert listed.chosen is None

    asyncio.run(main())


def drive(play: Callable[[ChatApp, Any], Awaitable[None]], *, size: tuple[int, int] = (80, 24), **more: Any) -> ChatApp:
    async def main() -> ChatApp:
        app = ChatApp(session(**more))
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(pilot, lambda: app.session.state == "ready")
            await play(app, pilot)
        assert app.worker.join(20)
        return app

    return asyncio.run(main())


def test_a_slash_opens_the_list_and_escape_closes_it() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await pilot.press("/")
        await until(pilot, lambda: app.completion.display)
        rows = screen_text(app).splitlines()
        at = next(y for y, row in enumerate(rows) if "/add PATH…" in row)
        assert "add files or folders" in rows[at]
        assert len(rows) == 24
        assert "Enter send" in rows[-1]
        await pilot.press("escape")
        assert not app.completion.display
        assert app.query_one(Prompt).text == "/"
        await pilot.press("h", "e")
        await until(pilot, lambda: "/help" in screen_text(app))
        await pilot.press("backspace", "backspace", "backspace")
        await until(pilot, lambda: not app.completion.display)

    drive(play)


def test_nothing_pops_up_for_questions() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        for text in ("what does /add do?", " /add"):
            app.query_one(Prompt).replace_all("")
            await pilot.press(*[{" ": "space", "/": "slash", "?": "question_mark"}.get(c, c) for c in text])
            await pilot.pause()
            assert app.query_one(Prompt).text == text
            assert not app.completion.display

    drive(play)


def test_tab_completes_name_and_path(tmp_path: Path) -> None:
    (tmp_path / "manuals").mkdir()
    (tmp_path / "manuals" / "pump.md").touch()
    knowledge = FakeIndex()

    async def play(app: ChatApp, pilot: Any) -> None:
        prompt = app.query_one(Prompt)
        await pilot.press(*"/add"[:3])
        await until(pilot, lambda: app.completion.display)
        await pilot.press("tab")
        assert prompt.text == "/add "
        prompt.insert(f"{tmp_path}/m")
        await until(pilot, lambda: "manuals/" in screen_text(app))
        await pilot.press("tab")
        assert prompt.text == f"/add {tmp_path}/manuals/"
        await until(pilot, lambda: "pump.md" in screen_text(app))
        await pilot.press("tab")
        assert prompt.text == f"/add {tmp_path}/manuals/pump.md"
        await pilot.pause()
        assert not app.completion.display
        await pilot.press("tab")
        assert app.focused is prompt
        await pilot.press("enter")
        await until(pilot, lambda: str(tmp_path / "manuals/pump.md") in knowledge.texts)

    drive(play, knowledge=knowledge, size=(120, 30))


def test_a_line_chosen_with_the_arrows_is_taken_by_enter() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        prompt = app.query_one(Prompt)
        await pilot.press("/", "a", "d")
        await until(pilot, lambda: app.completion.display and len(app.completion.options) == 4)
        await pilot.press("down", "enter")
        assert prompt.text == "/adapter "
        prompt.replace_all("")
        await pilot.press("/", "h")
        await until(pilot, lambda: app.completion.display)
        await pilot.press("up", "down", "enter")
        await until(pilot, lambda: "scroll the conversation" in screen_text(app))
        assert prompt.text == ""
        assert not app.completion.display

    drive(play)


def test_enter_without_choosing_sends_what_was_typed_and_up_brings_it_back_without_the_list() -> None:
    engine = ScriptedEngine(["yes"])

    async def play(app: ChatApp, pilot: Any) -> None:
        await pilot.press("/", "h")
        await until(pilot, lambda: app.completion.display)
        await pilot.press("enter")
        await until(pilot, lambda: "There is no /h;" in screen_text(app))
        assert not app.completion.display
        await pilot.press("up")
        assert app.query_one(Prompt).text == "/h"
        await pilot.pause()
        assert not app.completion.display
        await pilot.press("down")
        assert app.query_one(Prompt).text == ""

    drive(play, engine=engine)


def test_a_click_takes_a_line() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await pilot.press("/", "a", "d")
        await until(pilot, lambda: app.completion.display and len(app.completion.options) == 4)
        await click(pilot, r"(/)adapter", lambda: app.query_one(Prompt).text == "/adapter ")

    drive(play)


def test_typing_goes_on_while_a_slow_disk_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow(_app: Any, begun: str) -> list[str]:
        assert gate.wait(20)
        return [f"{begun}-late"]

    async def play(app: ChatApp, pilot: Any) -> None:
        app.commands = {**all_commands(), "add": SlashCommand("add", "PATH…", "add", nothing, slow)}
        app.query_one(Prompt).insert("/add /a")
        await pilot.press(*"bc")
        assert app.query_one(Prompt).text == "/add /abc"
        app.query_one(Prompt).replace_all("a question")
        gate.set()
        await pilot.pause()
        assert not app.completion.display

    drive(play)
