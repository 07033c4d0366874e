"""`edge chat --index DIR` without a terminal: test_offline.py runs this script as a process of its own.

Everything is the product's but the last step: Textual's Pilot sits where the terminal would be, asks one question
and prints what the person would have got, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from time import monotonic

from textual.pilot import Pilot

import edge_tui.app.app
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.sources import SourcesPane
from edge_tui.cli.main import main
from edge_tui.session.session import Session

_PATIENCE = 240.0


async def _one_turn(session: Session, question: str) -> None:
    app = edge_tui.app.app.ChatApp(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await _until(pilot, lambda: bool(session.documents))
        app.query_one(Prompt).insert(question)
        await pilot.press("enter")
        await _until(pilot, lambda: bool(app.query(AnswerView)) and app.query(AnswerView).last().over)
        quotes = [source.quote for source in app.query_one(SourcesPane).sources]
        print(json.dumps({"state": session.state, "answer": session.answer, "quotes": quotes}))
    assert app.worker.join(20)


async def _until(pilot: Pilot[None], happened: Callable[[], bool]) -> None:
    begun = monotonic()
    while not happened():
        if monotonic() - begun > _PATIENCE:
            raise TimeoutError(f"the app is not there after {_PATIENCE:.0f} seconds")
        await pilot.pause(0.05)


def _instead_of_a_terminal(session: Session, **_settings: object) -> None:
    asyncio.run(_one_turn(session, sys.argv[2]))


if __name__ == "__main__":
    edge_tui.app.app.run = _instead_of_a_terminal
    for stream in (sys.stdin, sys.stderr):
        stream.isatty = lambda: True  # type: ignore[method-assign]  # the command asks before it runs the app
    main(["chat", "--index", sys.argv[1], "--max-tokens", "16"])
