"""/compare: one question to two sides."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import Note, Question
from edge_tui.session import comparison_job
from edge_tui.session.comparison_job import ComparisonJob
from edge_tui.slash_commands import Deed

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat


_NOTHING = "There is nothing to compare with: add documents (/add PATH), an adapter (/adapter PATH) or another model."


async def compare(app: ChatApp, argument: str) -> None:
    words, question = comparison_job.split(argument)
    question = question or app.session.question
    if app.session.state == "answering":
        app.notify("Still answering; Esc stops it.", timeout=3)
    elif not question:
        app.notify("Write a question first, or /compare QUESTION.", timeout=5)
    elif words:
        await _begin(app, words, question)
    elif comparison_job.pairs(app.session):

        def chosen(key: str) -> None:
            app.call_later(_begin, app, key, question)

        app.choose("What is to be compared?", partial(comparison_job.pairs, app.session), "", chosen)
    else:
        app.notify(_NOTHING, timeout=5)


async def _begin(app: ChatApp, words: str, question: str) -> None:
    from edge_tui.app.screens.compare import CompareScreen

    try:
        two = comparison_job.sides(words, app.session)
    except UsageError as error:
        await app.conversation.say(Note(f"{error}.", "error"))
        return
    both = ComparisonJob(app.session, question, two)
    screen = CompareScreen(question, (two[0].name, two[1].name), lambda: app.session.stop("comparing"))

    async def left(number: int | None) -> None:
        if number is None or number < 0:
            return
        prompt = app.query_one(Prompt)
        if prompt.text.strip() == question:
            prompt.replace_all("")
        pane = screen.panes[number]
        finished = pane.finished
        assert finished is not None, "only an answer can be kept"
        app.submit(app.session.run("answering", lambda _stopped: both.keep(number)), None)
        view = AnswerView()
        await app.conversation.say(Question(question))
        await app.conversation.say(view)
        view.found(pane.evidence)
        await view.finish(finished)
        if both.repeated:
            await app.conversation.say(Note("It counts instead of the answer before."))
        app.sources.show(finished.sources)

    await app.push_screen(screen, left)
    app.submit(app.session.run("comparing", both.run), screen)


def plain_compare(chat: PlainChat, argument: str) -> None:
    """One side after the other; none of the answers counts as the conversation's."""
    session = chat.session
    words, question = comparison_job.split(argument)
    question = question or session.question
    if not question:
        chat.fail("Which question? /compare A|B QUESTION")
        return
    if not words:
        for pair in comparison_job.pairs(session):
            chat.say(f"/compare {pair.key} {question}: {pair.name}")
        if not comparison_job.pairs(session):
            chat.fail(_NOTHING)
        return
    try:
        two = comparison_job.sides(words, session)
    except UsageError as error:
        chat.fail(f"{error}.")
        return
    names = [side.name for side in two]
    chat.run(session.run("comparing", ComparisonJob(session, question, two).run), names)


def completions(app: ChatApp, begun: str) -> list[str]:
    """The two sides; the question behind them is the person's own."""
    return [f"{pair.key} " for pair in comparison_job.pairs(app.session) if begun and pair.key.startswith(begun)]


DEEDS = (Deed("compare", "[A|B] [QUESTION]", "put one question to two sides", compare, completions, plain_compare),)
