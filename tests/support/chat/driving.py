"""The app, run without a terminal and driven by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from textual.content import Content
from textual.widgets import Static

from edge_tui.app.app import ChatApp
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.session.session import Session
from support.chat.fakes import screen_text, until


def drive(chat: Session, play: Callable[[ChatApp, Any], Awaitable[None]], size: tuple[int, int] = (120, 40)) -> ChatApp:
    """Run the app without a terminal, let `play` press keys, leave, and wait for the worker."""

    async def main() -> ChatApp:
        app = ChatApp(chat)
        async with app.run_test(size=size, notifications=True) as pilot:
            await play(app, pilot)
        assert app.worker.join(20)
        return app

    return asyncio.run(main())


async def ready(app: ChatApp, pilot: Any) -> None:
    await until(pilot, lambda: app.session.state in ("ready", "failed") and "loading" not in screen_text(app))


async def answered(app: ChatApp, pilot: Any) -> AnswerView:
    await until(pilot, lambda: app.query(AnswerView) and app.query(AnswerView).last().over)
    await pilot.pause()
    return app.query(AnswerView).last()


def prompt(app: ChatApp) -> Prompt:
    return app.query_one(Prompt)


def marked(app: ChatApp) -> str:
    """The characters of the passage pane that carry a background of their own."""
    text = app.query_one("#source-text", Static).content
    assert isinstance(text, Content)
    return "".join(text.plain[span.start : span.end] for span in text.spans if " on " in str(span.style))
