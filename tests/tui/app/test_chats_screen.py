"""The screen of kept chats, hosted alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.widgets import Input, OptionList

from edge.errors import StorageError
from edge_tui.app.screens.chats import ChatsScreen
from edge_tui.history.records import ChatMessage, Turn, now
from edge_tui.history.store import Store
from support.chat.fakes import screen_text, until


class Host(App[None]):
    def __init__(self, screen: ChatsScreen) -> None:
        super().__init__()
        self.shown = screen
        self.chosen: list[int | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.shown, self.chosen.append)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "chats.sqlite"
    with Store(path) as store:
        for title, answer in (("Pumps", "Close both valves."), ("Bicycles [b]", "A long chain."), ("日本語", "はい")):
            number = store.create(title, model="tiny")
            store.put(number, Turn(ChatMessage("user", "how?", now()), ChatMessage("assistant", answer, now())))
    return path


def drive(screen: ChatsScreen, play: Callable[[Host, Any], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> Host:
    async def main() -> Host:
        host = Host(screen)
        async with host.run_test(size=size) as pilot:
            await until(pilot, lambda: len(host.screen_stack) == 2)
            await play(host, pilot)
        return host

    return asyncio.run(main())


def titles(host: Host) -> list[str]:
    rows = host.screen.query_one(OptionList)
    return [str(rows.get_option_at_index(at).prompt).splitlines()[0] for at in range(rows.option_count)]


def chosen(host: Host) -> str:
    rows = host.screen.query_one(OptionList)
    return titles(host)[rows.highlighted or 0]


async def listed(host: Host, pilot: Any, *wanted: str) -> None:
    await until(pilot, lambda: titles(host) == list(wanted), f"{wanted}")


def test_the_list_is_searched_while_one_types_and_enter_opens(path: Path) -> None:
    async def play(host: Host, pilot: Any) -> None:
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps")
        assert "tiny · 1 question" in screen_text(host)
        await pilot.press(*"val")
        await listed(host, pilot, "Pumps")
        assert "Close both valves." in screen_text(host)
        await pilot.press(*"xyz")
        await listed(host, pilot)
        assert "No chat holds all these words." in screen_text(host)
        await pilot.press("enter")
        assert host.chosen == []
        await pilot.press(*["backspace"] * 6)
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps")
        assert "No chat holds" not in screen_text(host)
        await pilot.press("down", "enter")
        await until(pilot, lambda: host.chosen == [2])

    drive(ChatsScreen(lambda: Store(path)), play)


def test_words_from_the_start_and_leaving(path: Path) -> None:
    async def play(host: Host, pilot: Any) -> None:
        await listed(host, pilot, "日本語")
        assert host.screen.query_one(Input).value == "本語"
        await pilot.press("escape")
        await until(pilot, lambda: host.chosen == [None])

    drive(ChatsScreen(lambda: Store(path), "本語"), play)


def test_renaming(path: Path) -> None:
    async def play(host: Host, pilot: Any) -> None:
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps")
        await pilot.press("down", "down", "ctrl+r")
        assert host.screen.query_one(Input).value == "Pumps"
        assert "Enter gives the chat this name" in screen_text(host)
        await pilot.press(*" P-7", "enter")
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps P-7")
        assert chosen(host) == "Pumps P-7"
        await pilot.press("ctrl+r", *"never", "escape")
        assert host.screen.query_one(Input).value == ""
        await pilot.press("escape")
        await until(pilot, lambda: host.chosen == [None])

    drive(ChatsScreen(lambda: Store(path)), play)
    with Store(path) as store:
        assert store.chat(1).title == "Pumps P-7"


def test_deleting_and_bringing_back(path: Path) -> None:
    deleted_ids: list[int] = []

    async def deleted(number: int) -> None:
        deleted_ids.append(number)

    async def play(host: Host, pilot: Any) -> None:
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps")
        await pilot.press("down", "ctrl+d")
        await listed(host, pilot, "日本語", "Pumps")
        assert "“Bicycles [b]” is deleted; Ctrl+Z brings it back." in screen_text(host)
        assert deleted_ids == [2]
        await pilot.press("ctrl+z")
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps")
        await pilot.press("ctrl+z")
        await until(pilot, lambda: "nothing to bring back" in screen_text(host))
        await pilot.press(*"pum")
        await listed(host, pilot, "Pumps")
        await pilot.press("ctrl+d")
        await listed(host, pilot)
        await until(pilot, lambda: "“Pumps” is deleted" in screen_text(host))

    drive(ChatsScreen(lambda: Store(path), "", deleted), play)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (160, 50)])
def test_it_fits(path: Path, size: tuple[int, int]) -> None:
    async def play(host: Host, pilot: Any) -> None:
        await listed(host, pilot, "日本語", "Bicycles [b]", "Pumps")
        rows = screen_text(host).splitlines()
        assert "Chats" in "".join(rows)
        assert max(map(len, rows)) <= size[0]
        assert any("日本語" in row for row in rows)

    drive(ChatsScreen(lambda: Store(path)), play, size)


def test_no_chats_and_no_store(tmp_path: Path) -> None:
    async def empty(host: Host, pilot: Any) -> None:
        await until(pilot, lambda: "No chat is kept yet" in screen_text(host))
        await pilot.press("ctrl+r", "ctrl+d", "enter")
        assert len(host.screen_stack) == 2

    drive(ChatsScreen(lambda: Store(tmp_path / "chats.sqlite")), empty)

    def off() -> Store:
        raise StorageError("chats are not kept; start without --no-keep")

    async def refused(host: Host, pilot: Any) -> None:
        await until(pilot, lambda: "start without --no-keep" in screen_text(host))
        await pilot.press("ctrl+z")
        assert "start without --no-keep" in screen_text(host)

    drive(ChatsScreen(off), refused)
