"""Two answers next to each other, alone on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.app import App, ComposeResult

from edge.types import Prefill
from edge_tui.app.screens.compare import CompareScreen
from edge_tui.app.widgets.side import SidePane, cost
from edge_tui.rendering.sources import Source
from edge_tui.session.events import Error, Event, Finished, Found, Prefilling, SideEvent, Speed, Words
from support.chat.fakes import SEAL, click, screen_text, until

SOURCE = Source(1, SEAL, "/manuals/pump.md", 12, "Maintenance", 80, 80 + len(SEAL))
SPEED = Speed(0.25, 20.0, 120, 4096, 100, 20)
DONE = Finished("stop", "Every 4,000 hours. [\\[1\\]](#source-1)", (SOURCE,), ("a note",), SPEED)


class Host(App[None]):
    kept: int | None = None
    stops = 0

    def on_mount(self) -> None:
        self.two = CompareScreen("how [bold]often?", ("base", "legal"), self.stop_it)
        self.push_screen(self.two, self._took)

    def stop_it(self) -> None:
        self.stops += 1

    def _took(self, number: int | None) -> None:
        self.kept = number


def drive(play: Callable[[Host, Any], Awaitable[None]], size: tuple[int, int] = (120, 30)) -> Host:
    async def main() -> Host:
        app = Host()
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            await play(app, pilot)
            await pilot.pause()
        return app

    return asyncio.run(main())


async def tell(app: Host, pilot: Any, side: int, *events: Event) -> None:
    for event in events:
        await app.two.take(SideEvent(side, event, 1.5))
    await app.two.flush()
    await pilot.pause()


@pytest.mark.parametrize(("size", "beside"), [((120, 30), True), ((100, 24), True), ((80, 24), False)])
def test_the_sides_stand_beside_each_other_where_there_is_room(size: tuple[int, int], beside: bool) -> None:
    async def play(app: Host, pilot: Any) -> None:
        first, second = (pane.region for pane in app.two.panes)
        assert (first.y == second.y) is beside
        assert (first.x == second.x) is not beside
        rows = screen_text(app).splitlines()
        assert max(map(len, rows)) <= size[0]
        assert "how [bold]often?" in rows[1]
        assert "1 base" in screen_text(app)
        assert "2 legal" in screen_text(app)
        await pilot.resize_terminal(*((80, 24) if beside else (120, 30)))
        await pilot.pause()
        assert (app.two.panes[0].region.y == app.two.panes[1].region.y) is not beside

    drive(play, size)


def test_answers_grow_and_their_costs_stand_below_in_the_same_words() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await tell(app, pilot, 0, Found((SOURCE,)), Prefilling(Prefill(100, 40, 60)))
        assert "reading 60 of 100 tokens" in screen_text(app)
        assert "[1] Replace the shaft seal" in screen_text(app)
        await tell(app, pilot, 0, Words("Every"), Words(" moon"))
        await until(pilot, lambda: "Every moon" in screen_text(app))
        assert "writing · 2 tokens in 1.5 s" in screen_text(app)
        assert "waiting" in screen_text(app)
        await tell(app, pilot, 0, DONE)
        await tell(app, pilot, 1, Finished("stop", "Daily.", (), (), Speed(0.5, 10.0, 60, 4096, 0, 10)))
        shown = screen_text(app)
        assert "Every 4,000 hours. [1]" in shown
        assert "a note" in shown
        assert "20 tokens in 1.5 s · 20.0 tok/s" in shown
        assert "1, 2 keep an answer" in shown

    drive(play)
    assert cost(DONE, 1.5).endswith("first word 0.25 s · 100 of 100 prompt tokens cached · 1 source")
    stopped = Finished("cancelled", "Da", (), ("Stopped",), Speed(0.5, None, 60, 4096, 0, 1))
    assert cost(stopped, 0.5) == "1 tokens in 0.5 s · first word 0.50 s · no sources"


def test_a_key_keeps_a_side_and_only_an_answer_can_be_kept() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await tell(app, pilot, 0, Error("legal was made for another base"))
        assert "legal was made for another base" in screen_text(app)
        await pilot.press("1", "2")
        await until(pilot, lambda: "no answer on that side" in screen_text(app))
        assert app.kept is None
        await tell(app, pilot, 1, DONE)
        await pilot.press("2")

    assert drive(play).kept == 1


def test_escape_stops_first_and_leaves_second() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await tell(app, pilot, 0, Words("Every"))
        await pilot.press("escape")
        assert app.stops == 1
        assert app.kept is None
        assert "Stopping" in screen_text(app)
        await pilot.press("escape")

    assert drive(play).kept == -1


def test_escape_leaves_at_once_when_both_are_done_and_trouble_of_all_ends_both() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await tell(app, pilot, 0, DONE)
        await app.two.take(Error("Something unexpected happened; please report it."))
        await pilot.pause()
        assert "Something unexpected" in screen_text(app)
        assert app.two.panes[0].finished is DONE
        await pilot.press("escape")

    assert drive(play).kept == -1


def test_a_mark_shows_its_quote() -> None:
    async def play(app: Host, pilot: Any) -> None:
        await tell(app, pilot, 0, Found((SOURCE,)), DONE)
        await click(pilot, r"hours\. \[(1)\]", lambda: screen_text(app).count("Replace the shaft seal") == 2)
        assert screen_text(app).count("pump.md · p. 12 · 80") == 2

    drive(play)


def test_a_side_alone_shows_text_and_no_escape_sequences() -> None:
    pane = SidePane(0, "li[bold]ke")

    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield pane

    async def main() -> None:
        app = One()
        async with app.run_test(size=(60, 12)) as pilot:
            await pane.take(Error("bad \x1b[2J name [x]"), 0.0)
            await pilot.pause()
            assert r"bad \x1b[2J name [x]" in screen_text(app)
            assert "1 li[bold]ke" in screen_text(app)
            assert "no answer" in screen_text(app)
            assert pane.over

    asyncio.run(main())
