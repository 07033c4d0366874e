"""Files that are dropped on the terminal: recognised, offered, added; text stays text."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from edge_tui.app.app import ChatApp
from edge_tui.app.input.prompt import Prompt
from edge_tui.slash_commands.parser import paths
from edge_tui.slash_commands.typed_paths import dropped, look_up_drop
from support.chat.fakes import FakeIndex, screen_text, session, until


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/home/me/a.pdf", ("/home/me/a.pdf",)),
        ("'/home/me/my file.pdf' ", ("/home/me/my file.pdf",)),
        ("'/home/me/it'\\''s.pdf'", ("/home/me/it's.pdf",)),
        ('"/home/me/my file.pdf"', ("/home/me/my file.pdf",)),
        ("/home/me/my\\ file.pdf /b", ("/home/me/my file.pdf", "/b")),
        ("file:///home/me/my%20file.pdf\r\nfile:///b\r\n", ("/home/me/my file.pdf", "/b")),
        ("'file:///home/me/a.pdf'", ("/home/me/a.pdf",)),
        ("file:///C:/Users/me/a.pdf", ("C:/Users/me/a.pdf",)),
        ("C:\\Users\\me\\my file.pdf", ("C:\\Users\\me\\my file.pdf",)),
        ("~/a.pdf", ("~/a.pdf",)),
        ("/etc/fstab is what?", ()),
        ("what is /etc/fstab?", ()),
        ("'quoted' words", ()),
        ("file://host.example/a", ()),
        ("// a comment", ()),
        ("", ()),
        ("/unfinished 'quote", ()),
    ],
)
def test_what_is_a_drop(text: str, found: tuple[str, ...]) -> None:
    assert dropped(text) == found


def test_ten_thousand_paths_and_a_megabyte_of_text_are_quickly_distinguished() -> None:
    many = " ".join(f"'/docs/file {n}.pdf'" for n in range(10_000))
    assert len(dropped(many)) == 10_000
    assert dropped("/" + "a b " * 250_000) == ()
    assert dropped("'" * 1_000_001) == ()


def test_a_look_at_the_disk_decides(tmp_path: Path) -> None:
    there = tmp_path / "a.pdf"
    there.touch()
    assert look_up_drop([str(there)], str(there)).certain
    assert not look_up_drop(["/help"], "/help").certain
    assert look_up_drop(["/gone/a.pdf"], "'/gone/a.pdf'").missing == ("/gone/a.pdf",)
    assert look_up_drop(["/a\0b"], "file:///a%00b").missing == ("/a\0b",)


def test_an_added_line_may_hold_urls(tmp_path: Path) -> None:
    assert paths("file:///a%20b /c") == (Path("/a b"), Path("/c"))


def drive(knowledge: FakeIndex, play: Callable[[ChatApp, Any], Awaitable[None]]) -> None:
    async def main() -> None:
        app = ChatApp(session(knowledge=knowledge))
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, lambda: app.session.state == "ready")
            await play(app, pilot)
        assert app.worker.join(20)

    asyncio.run(main())


def paste(app: ChatApp, text: str) -> None:
    app.post_message(events.Paste(text))


def test_a_dropped_file_is_offered_and_added(tmp_path: Path) -> None:
    there = tmp_path / "my manual.md"
    there.touch()
    knowledge = FakeIndex()

    async def play(app: ChatApp, pilot: Any) -> None:
        paste(app, f"'{there}' ")
        await until(pilot, lambda: "Add my manual.md?" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "1 added" in screen_text(app))
        assert app.query_one(Prompt).text == ""

    drive(knowledge, play)
    assert list(knowledge.texts) == [str(there)]


def test_the_offer_can_be_refused_or_the_text_taken(tmp_path: Path) -> None:
    there = tmp_path / "a.md"
    there.touch()
    knowledge = FakeIndex()

    async def play(app: ChatApp, pilot: Any) -> None:
        paste(app, str(there))
        await until(pilot, lambda: "Add a.md?" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.query_one(Prompt).text == ""
        paste(app, str(there))
        await until(pilot, lambda: "Add a.md?" in screen_text(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.query_one(Prompt).text == str(there))

    drive(knowledge, play)
    assert knowledge.texts == {}


def test_what_does_not_exist_is_said_and_the_rest_offered(tmp_path: Path) -> None:
    there = tmp_path / "a.md"
    there.touch()

    async def play(app: ChatApp, pilot: Any) -> None:
        paste(app, "file:///gone/b\x1b.md")
        await until(pilot, lambda: "does not exist" in screen_text(app))
        assert r"/gone/b\x1b.md" in screen_text(app)
        assert len(app.screen_stack) == 1
        paste(app, f"{there} /gone/c.md")
        await until(pilot, lambda: "Add a.md?" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "/gone/c.md" in screen_text(app))

    drive(FakeIndex(), play)


def test_text_that_only_looks_like_a_path_goes_into_the_input() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        paste(app, "/no/such/thing")
        await until(pilot, lambda: app.query_one(Prompt).text == "/no/such/thing")
        app.query_one(Prompt).replace_all("/add ")
        paste(app, "'/behind/a command'")
        await until(pilot, lambda: app.query_one(Prompt).text == "/add '/behind/a command'")

    drive(FakeIndex(), play)


def test_ten_thousand_dropped_files(tmp_path: Path) -> None:
    knowledge = FakeIndex()
    for n in range(10_000):
        (tmp_path / f"{n:05} x.md").touch()
    text = shlex.join(str(tmp_path / f"{n:05} x.md") for n in range(10_000))

    async def play(app: ChatApp, pilot: Any) -> None:
        paste(app, text)
        await until(pilot, lambda: "Add 10,000 files and folders?" in screen_text(app))
        assert "and 9,995 more" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "10000 added" in screen_text(app))

    drive(knowledge, play)
    assert len(knowledge.texts) == 10_000
