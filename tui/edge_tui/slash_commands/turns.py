"""/edit, /retry, /fork, /good, /bad, /correct: other ways on from a turn of this chat, and what an answer was worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edge_tui.slash_commands.base import SlashCommand, View
from edge_tui.terminal import printable

if TYPE_CHECKING:
    from edge_tui.history.records import Mark, Turn

_NO_QUESTION = "There is no question in this chat yet."
_NO_ANSWER = "There is no answer in this chat yet."
_LAST = "last"


def fork(view: View, argument: str) -> None:
    def take(number: int) -> None:
        view.submit(view.session.from_history(view.session.history.fork(number)))

    if not view.busy():
        _turn(view, argument, "After which question does the new chat go on?", take)


def edit(view: View, argument: str) -> None:
    number, text = _numbered(argument)
    if view.busy():
        return
    if text and _exists(view.session.history.turns, number):
        view.ask(text, instead_of=int(number))
        return

    def take(number: int) -> None:
        text = view.session.history.turns[number - 1].question.text
        hint = f"Enter asks this in place of question {number}, Esc leaves it as it was."
        view.edit(text, hint, partial(view.ask, instead_of=number), usage=f"Write it anew: /edit {number} QUESTION")

    _turn(view, number, "Which question do you want to edit?", take)


def retry(view: View, _argument: str) -> None:
    turns = view.session.history.turns
    if not turns:
        view.notify(_NO_QUESTION)
    elif not view.busy():
        view.ask(turns[-1].question.text, instead_of=len(turns))


def mark(value: Mark) -> Callable[[View, str], None]:
    def run(view: View, argument: str) -> None:
        def take(number: int) -> None:
            view.submit(view.session.history.mark(value, number))

        if not view.busy():
            _turn(view, argument or _LAST, "", take)

    return run


def correct(view: View, text: str) -> None:
    turns = view.session.history.turns

    def take(line: str) -> None:
        view.submit(view.session.history.correct(line, len(turns)))

    if not turns:
        view.notify(_NO_ANSWER)
    elif view.busy():
        return
    elif text:
        take(text)
    else:
        before = turns[-1].answer.correction or turns[-1].answer.text
        hint = "Enter keeps this as what the answer should have been."
        view.edit(printable(before), hint, take, usage="What should the answer have been? /correct TEXT")


def _turn(view: View, argument: str, title: str, take: Callable[[int], None]) -> None:
    """The turn that a person names by its number, the last one for "last", one that is chosen for nothing."""
    turns = view.session.history.turns
    if not turns:
        view.notify(_NO_QUESTION)
    elif argument == _LAST or (len(turns) == 1 and not argument):
        take(len(turns))
    elif _exists(turns, argument):
        take(int(argument))
    elif argument:
        view.notify(f"This chat has the questions 1 to {len(turns)}.")
    else:
        view.choose_turn(title, take)


def _numbered(argument: str) -> tuple[str, str]:
    """The number that a line begins with, and the rest."""
    number, _, text = argument.partition(" ")
    return number, text.strip()


def _exists(turns: tuple[Turn, ...], number: str) -> bool:
    return number.isdecimal() and 1 <= int(number) <= len(turns)


def _numbers(view: View, begun: str) -> list[str]:
    return [str(at) for at in range(1, len(view.session.history.turns) + 1) if str(at).startswith(begun)]


COMMANDS = (
    SlashCommand("edit", "[n [QUESTION]]", "ask question n again, edited", edit, _numbers),
    SlashCommand("retry", "", "ask the last question once more", retry),
    SlashCommand("fork", "[n]", "go on from question n in a new chat", fork, _numbers),
    SlashCommand("good", "[n]", "mark an answer good, to learn from", mark("good"), _numbers),
    SlashCommand("bad", "[n]", "mark an answer bad", mark("bad"), _numbers),
    SlashCommand("correct", "[TEXT]", "say how the answer should have been", correct),
)
