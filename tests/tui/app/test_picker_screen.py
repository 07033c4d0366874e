"""The picker, alone on the screen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from textual.app import App

from edge.errors import StorageError
from edge_tui.app.screens.picker import PickerScreen
from edge_tui.session.picker_items import PickerItem
from support.chat.fakes import screen_text, until

LINES = (
    PickerItem("/m/a", "smollm", "98 MB · Q4_1"),
    PickerItem("/m/b", "phi3", "2.3 GB · Q4_K_M", "does not fit: needs 4 GB"),
    PickerItem("/m/c", "pirate [bold]"),
)


class Host(App[None]):
    chosen: str | None = None

    def __init__(self, lines: Any, now: str = "") -> None:
        super().__init__()
        self._lines_to_choose, self._now = lines, now

    def on_mount(self) -> None:
        self.push_screen(PickerScreen("Which?", self._lines_to_choose, self._now, "answers now"), self._took)

    def _took(self, key: str | None) -> None:
        self.chosen = key


def drive(
    lines: Sequence[PickerItem] | Callable[[], Sequence[PickerItem]],
    play: Callable[[Host, Any], Awaitable[None]],
    now: str = "",
) -> Host:
    async def main() -> Host:
        app = Host(lines, now)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await play(app, pilot)
            await pilot.pause()
        return app

    return asyncio.run(main())


def test_lines_tell_their_facts_and_enter_takes_the_one_that_answers_now() -> None:
    async def play(app: Host, pilot: Any) -> None:
        shown = screen_text(app)
        for part in ("Which?", "98 MB · Q4_1", "does not fit: needs 4 GB", "pirate [bold]", "phi3  ● answers now"):
            assert part in shown
        await pilot.press("enter")

    assert drive(LINES, play, now="/m/b").chosen == "/m/b"


def test_arrows_choose_while_the_filter_has_the_focus() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await pilot.press("down", "down", "up", "enter")

    assert drive(LINES, play).chosen == "/m/b"


def test_typing_filters_by_any_words_of_name_and_facts() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await pilot.press(*"q4 PHI")
        shown = screen_text(app)
        assert "phi3" in shown
        assert "smollm" not in shown
        await pilot.press(*"xyz", "enter")
        assert "Nothing is called that" in screen_text(app)
        assert app.chosen is None, "there is nothing to take"
        await pilot.press(*["backspace"] * 3, "enter")

    assert drive(LINES, play).chosen == "/m/b"


def test_escape_takes_nothing() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await pilot.press("escape")

    assert drive(LINES, play).chosen == ""


def test_facts_are_gathered_on_another_thread_while_keys_are_heard() -> None:
    gate, threads = threading.Event(), set()

    def gather() -> Sequence[PickerItem]:
        threads.add(threading.get_ident())
        assert gate.wait(20)
        return LINES

    async def play(app: Host, pilot: Any) -> None:
        assert "Looking at the files" in screen_text(app)
        await pilot.press(*"smol")
        gate.set()
        await until(pilot, lambda: "98 MB" in screen_text(app))
        assert "phi3" not in screen_text(app)
        await pilot.press("enter")

    assert drive(gather, play).chosen == "/m/a"
    assert threading.get_ident() not in threads


def test_what_cannot_be_gathered_is_said() -> None:
    def gather() -> Sequence[PickerItem]:
        raise StorageError("the folder [models] cannot be read; make it readable")

    async def play(app: Host, pilot: Any) -> None:
        await until(pilot, lambda: "the folder [models] cannot be read" in screen_text(app))
        await pilot.press("escape")

    assert drive(gather, play).chosen == ""
