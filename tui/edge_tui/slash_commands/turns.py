"""/edit, /retry, /fork, /good, /bad, /correct: other ways on from a turn of this chat, and what an answer was worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING

from edge_tui.slash_commands import Deed
from edge_tui.terminal import printable, visible_name

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.history.records import Mark, Turn
    from edge_tui.plain import PlainChat

_NO_QUESTION = "There is no question in this chat yet."
_NO_ANSWER = "There is no answer in this chat yet."
_LAST = "last"


def fork(app: ChatApp, argument: str) -> None:
    def take(number: int) -> None:
        app.submit(app.session.from_history(app.session.history.fork(number)), None)

    if not app.busy():
        _turn(app, argument, "After which question does the new chat go on?", take)


def plain_fork(chat: PlainChat, argument: str) -> None:
    number = _plain_turn(chat, argument)
    if number is not None:
        chat.run(chat.session.from_history(chat.session.history.fork(number)))


async def edit(app: ChatApp, argument: str) -> None:
    number, text = _numbered(argument)
    if app.busy():
        return
    if text and _exists(app.session.history.turns, number):
        await app.ask(text, instead_of=int(number))
        return

    def take(number: int) -> None:
        text = app.session.history.turns[number - 1].question.text
        hint = f"Enter asks this in place of question {number}, Esc leaves it as it was."
        app.write_instead(text, hint, partial(app.ask, instead_of=number))

    _turn(app, number, "Which question do you want to edit?", take)


def plain_edit(chat: PlainChat, argument: str) -> None:
    number, text = _numbered(argument)
    at = _plain_turn(chat, number)
    if at is None:
        return
    if text:
        chat.run(chat.session.ask(text, instead_of=at))
    else:
        chat.say(chat.session.history.turns[at - 1].question.text)
        chat.fail(f"Write it anew: /edit {at} QUESTION")


async def retry(app: ChatApp, _argument: str) -> None:
    turns = app.session.history.turns
    if not turns:
        app.notify(_NO_QUESTION, timeout=3)
    elif not app.busy():
        await app.ask(turns[-1].question.text, instead_of=len(turns))


def plain_retry(chat: PlainChat, _argument: str) -> None:
    turns = chat.session.history.turns
    if turns:
        chat.run(chat.session.ask(turns[-1].question.text, instead_of=len(turns)))
    else:
        chat.fail(_NO_QUESTION)


def marked(mark: Mark) -> Callable[[ChatApp, str], None]:
    def do(app: ChatApp, argument: str) -> None:
        if not app.busy():
            _turn(app, argument or _LAST, "", lambda at: app.submit(app.session.history.mark(mark, at), None))

    return do


def plain_marked(mark: Mark) -> Callable[[PlainChat, str], None]:
    def do(chat: PlainChat, argument: str) -> None:
        number = _plain_turn(chat, argument)
        if number is not None:
            chat.run(chat.session.history.mark(mark, number))

    return do


async def correct(app: ChatApp, text: str) -> None:
    turns = app.session.history.turns

    async def take(line: str) -> None:
        app.submit(app.session.history.correct(line, len(turns)), None)

    if not turns:
        app.notify(_NO_ANSWER, timeout=3)
    elif app.busy():
        return
    elif text:
        await take(text)
    else:
        before = turns[-1].answer.correction or turns[-1].answer.text
        app.write_instead(printable(before), "Enter keeps this as what the answer should have been.", take)


def plain_correct(chat: PlainChat, text: str) -> None:
    if not chat.session.history.turns:
        chat.fail(_NO_ANSWER)
    elif text:
        chat.run(chat.session.history.correct(text))
    else:
        chat.fail("What should the answer have been? /correct TEXT")


def _turn(app: ChatApp, argument: str, title: str, take: Callable[[int], None]) -> None:
    """The turn that a person names by its number, the last one for "last", one that is chosen for nothing."""
    from edge_tui.app.screens.choose import ChooseScreen

    turns = app.session.history.turns
    number = str(len(turns)) if argument == _LAST or (len(turns) == 1 and not argument) else argument
    if not turns:
        app.notify(_NO_QUESTION, timeout=3)
    elif _exists(turns, number):
        take(int(number))
    elif number:
        app.notify(_existing(turns), timeout=3)
    elif len(app.screen_stack) == 1:
        names = [shorten(visible_name(turn.question.text[:500]), 60, placeholder=" …") for turn in turns]
        lines = [(str(at), f"{at}  {name}") for at, name in enumerate(names, 1)]

        def chosen(key: str | None) -> None:
            if key:
                take(int(key))

        app.push_screen(ChooseScreen(title, lines, str(len(turns))), chosen)


def _plain_turn(chat: PlainChat, argument: str) -> int | None:
    """The turn that a person names by its number, the last one for nothing; None where there is none, which is told."""
    turns = chat.session.history.turns
    if not turns:
        chat.fail(_NO_QUESTION)
    elif argument in ("", _LAST):
        return len(turns)
    elif _exists(turns, argument):
        return int(argument)
    else:
        chat.fail(_existing(turns))
    return None


def _numbered(argument: str) -> tuple[str, str]:
    """The number that a line begins with, and the rest."""
    number, _, text = argument.partition(" ")
    return number, text.strip()


def _exists(turns: tuple[Turn, ...], number: str) -> bool:
    return number.isdecimal() and 1 <= int(number) <= len(turns)


def _existing(turns: tuple[Turn, ...]) -> str:
    return f"This chat has the questions 1 to {len(turns)}."


def _numbers(app: ChatApp, begun: str) -> list[str]:
    return [str(at) for at in range(1, len(app.session.history.turns) + 1) if str(at).startswith(begun)]


DEEDS = (
    Deed("edit", "[n [QUESTION]]", "ask question n again, edited", edit, _numbers, plain_edit),
    Deed("retry", "", "ask the last question once more", retry, plain=plain_retry),
    Deed("fork", "[n]", "go on from question n in a new chat", fork, _numbers, plain_fork),
    Deed("good", "[n]", "mark an answer good, to learn from", marked("good"), _numbers, plain_marked("good")),
    Deed("bad", "[n]", "mark an answer bad", marked("bad"), _numbers, plain_marked("bad")),
    Deed("correct", "[TEXT]", "say how the answer should have been", correct, plain=plain_correct),
)
