"""A kept chat comes back to the screen: the latest turn first, the earlier ones above it while keys are served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import Conversation, Note, Question
from edge_tui.history.records import Turn
from edge_tui.session.chat_history import finished
from edge_tui.session.events import Opened

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp

REDRAWING = "redrawing"
"""The group of Textual's workers in which earlier turns are drawn."""


async def redraw(app: ChatApp, opened: Opened, waiting: Sequence[AnswerView]) -> None:
    """Put the turns in the place of what is on the screen; answers that were asked for meanwhile stay below them."""
    app.workers.cancel_group(app, REDRAWING)
    await app.conversation.restart(keep=waiting)
    await app.conversation.say(Note(opened.note))
    if not waiting:
        app.sources.show(opened.turns[-1].answer.sources if opened.turns else ())
    app.run_worker(_draw(app.conversation, opened.turns), group=REDRAWING)


async def cut(app: ChatApp, at: int) -> None:
    """Take the turns from `at` on, counted from 1, off the screen; also those that are only about to be drawn."""
    turns = app.session.history.turns
    if any(worker.group == REDRAWING and not worker.is_finished for worker in app.workers):
        app.workers.cancel_group(app, REDRAWING)
        await app.conversation.restart()
        app.run_worker(_draw(app.conversation, turns[: at - 1]), group=REDRAWING)
    else:
        await app.conversation.cut(len(turns) + 1 - at)


async def _draw(conversation: Conversation, turns: Sequence[Turn]) -> None:
    for turn in reversed(turns):
        view = AnswerView()
        await conversation.put_first(Question(turn.question.text), view)
        view.found(turn.answer.sources[: turn.answer.found])
        await view.finish(finished(turn.answer))
