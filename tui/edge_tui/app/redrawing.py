"""A kept chat comes back to the screen: the latest turn first, the earlier ones above it while keys are served."""

from __future__ import annotations

from collections.abc import Sequence

from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import Conversation, Note, Question
from edge_tui.history.records import Turn
from edge_tui.session.chat_history import finished
from edge_tui.session.events import Opened

_GROUP = "redrawing"
"""The group of Textual's workers in which earlier turns are drawn."""


async def redraw(conversation: Conversation, opened: Opened, waiting: Sequence[AnswerView]) -> None:
    """Put the turns in the place of what is on the screen; answers that were asked for meanwhile stay below them."""
    stop_redrawing(conversation)
    await conversation.restart(keep=waiting)
    await conversation.say(Note(opened.note))
    conversation.run_worker(_draw(conversation, opened.turns), group=_GROUP)


async def cut(conversation: Conversation, turns: Sequence[Turn], at: int) -> None:
    """Take the turns from `at` on, counted from 1, off the screen; also those that are only about to be drawn."""
    if any(worker.group == _GROUP and not worker.is_finished for worker in conversation.workers):
        stop_redrawing(conversation)
        await conversation.restart()
        conversation.run_worker(_draw(conversation, turns[: at - 1]), group=_GROUP)
    else:
        await conversation.cut(len(turns) + 1 - at)


def stop_redrawing(conversation: Conversation) -> None:
    """What is not drawn yet stays away."""
    conversation.workers.cancel_group(conversation, _GROUP)


async def _draw(conversation: Conversation, turns: Sequence[Turn]) -> None:
    for turn in reversed(turns):
        view = AnswerView()
        await conversation.put_first(Question(turn.question.text), view)
        view.found(turn.answer.sources[: turn.answer.found])
        await view.finish(finished(turn.answer))
