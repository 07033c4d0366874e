"""/compare: one question to two sides."""

from __future__ import annotations

from functools import partial

from edge.errors import UsageError
from edge_tui.session import comparison_job
from edge_tui.session.comparison_job import ComparisonJob
from edge_tui.slash_commands.base import SlashCommand, View

_NOTHING = "There is nothing to compare with: add documents (/add PATH), an adapter (/adapter PATH) or another model."


def compare(view: View, argument: str) -> None:
    session = view.session
    words, question = comparison_job.split(argument)
    question = question or session.question
    if view.busy():
        return
    if not question:
        view.notify("Write a question first, or /compare A|B QUESTION.")
    elif words:
        _begin(view, question, words)
    elif comparison_job.pairs(session):
        pairs = partial(comparison_job.pairs, session)
        usage = f"/compare KEY {question}"
        view.choose("What is to be compared?", pairs, "", partial(_begin, view, question), usage=usage)
    else:
        view.notify(_NOTHING)


def _begin(view: View, question: str, words: str) -> None:
    try:
        sides = comparison_job.sides(words, view.session)
    except UsageError as error:
        view.fail(f"{error}.")
        return
    view.compare(ComparisonJob(view.session, question, sides))


def completions(view: View, begun: str) -> list[str]:
    """The two sides; the question behind them is the person's own."""
    return [f"{pair.key} " for pair in comparison_job.pairs(view.session) if begun and pair.key.startswith(begun)]


COMMANDS = (SlashCommand("compare", "[A|B] [QUESTION]", "put one question to two sides", compare, completions),)
