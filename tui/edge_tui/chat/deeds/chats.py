"""/chats, /edit, /retry, /fork, /good and their kind: kept chats, and other ways on from a turn of this one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from edge_tui.chat.deeds import Deed
from edge_tui.chat.events import printable

if TYPE_CHECKING:
    from edge_tui.chat.app import ChatApp
    from edge_tui.chats.records import Mark


def chats(app: ChatApp, words: str) -> None:
    from edge_tui.chat.screens.chats import ChatsScreen

    keeping = app.session.keeping

    async def deleted(number: int) -> None:
        keeping.deleted(number)
        if number == keeping.number:
            await app.action_new()

    def chosen(number: int | None) -> None:
        if number is not None and number != keeping.number and not app.busy():
            app.submit(app.session.kept(keeping.reopen(number)), None)

    if len(app.screen_stack) == 1:
        app.push_screen(ChatsScreen(keeping.visit, words, deleted), chosen)


def continue_(app: ChatApp, _argument: str) -> None:
    if not app.busy():
        app.submit(app.session.kept(app.session.keeping.reopen()), None)


async def rename(app: ChatApp, title: str) -> None:
    async def take(line: str) -> None:
        app.submit(app.session.keeping.rename(line), None)

    if title:
        await take(title)
    else:
        app.write_instead(app.session.keeping.title, "Enter gives the chat this name, Esc leaves it.", take)


async def delete(app: ChatApp, _argument: str) -> None:
    app.submit(app.session.keeping.delete(), None)
    await app.action_new()


def undo(app: ChatApp, _argument: str) -> None:
    if not app.busy():
        app.submit(app.session.kept(app.session.keeping.undo()), None)


def fork(app: ChatApp, argument: str) -> None:
    def take(number: int) -> None:
        app.submit(app.session.kept(app.session.keeping.fork(number)), None)

    if not app.busy():
        _turn(app, argument, "After which question does the new chat go on?", take)


def edit(app: ChatApp, argument: str) -> None:
    def take(number: int) -> None:
        text = app.session.keeping.turns[number - 1].question.text
        hint = f"Enter asks this in place of question {number}, Esc leaves it as it was."
        app.write_instead(text, hint, partial(app.ask, instead_of=number))

    if not app.busy():
        _turn(app, argument, "Which question do you want to edit?", take)


async def retry(app: ChatApp, _argument: str) -> None:
    turns = app.session.keeping.turns
    if not turns:
        app.notify("There is no question in this chat yet.", timeout=3)
    elif not app.busy():
        await app.ask(turns[-1].question.text, instead_of=len(turns))


def marked(mark: Mark) -> Callable[[ChatApp, str], None]:
    def do(app: ChatApp, argument: str) -> None:
        if not app.busy():
            _turn(app, argument or "last", "", lambda at: app.submit(app.session.keeping.mark(mark, at), None))

    return do


async def correct(app: ChatApp, text: str) -> None:
    turns = app.session.keeping.turns

    async def take(line: str) -> None:
        app.submit(app.session.keeping.correct(line, len(turns)), None)

    if not turns:
        app.notify("There is no answer in this chat yet.", timeout=3)
    elif app.busy():
        return
    elif text:
        await take(text)
    else:
        before = turns[-1].answer.correction or turns[-1].answer.text
        app.write_instead(printable(before), "Enter keeps this as what the answer should have been.", take)


def export(app: ChatApp, argument: str) -> None:
    path = Path(argument).expanduser().absolute() if argument else None
    app.submit(app.session.keeping.export(path), None)


def _turn(app: ChatApp, argument: str, title: str, take: Callable[[int], None]) -> None:
    """The turn that a person names by its number, the last one for "last", one that is chosen for nothing."""
    from edge_tui.chat.screens.choose import ChooseScreen

    turns = app.session.keeping.turns
    number = str(len(turns)) if argument == "last" or (len(turns) == 1 and not argument) else argument
    if not turns:
        app.notify("There is no question in this chat yet.", timeout=3)
    elif number.isdecimal() and 1 <= int(number) <= len(turns):
        take(int(number))
    elif number:
        app.notify(f"This chat has the questions 1 to {len(turns)}.", timeout=3)
    elif len(app.screen_stack) == 1:
        names = [shorten(printable(turn.question.text[:500]), 60, placeholder=" …") for turn in turns]
        lines = [(str(at), f"{at}  {name}") for at, name in enumerate(names, 1)]

        def chosen(key: str | None) -> None:
            if key:
                take(int(key))

        app.push_screen(ChooseScreen(title, lines, str(len(turns))), chosen)


def _numbers(app: ChatApp, begun: str) -> list[str]:
    return [str(at) for at in range(1, len(app.session.keeping.turns) + 1) if str(at).startswith(begun)]


DEEDS = (
    Deed("chats", "", "list the kept chats", chats),
    Deed("search", "WORDS", "search the kept chats", chats),
    Deed("continue", "", "go on with the chat before this", continue_),
    Deed("rename", "[NAME]", "give this chat another name", rename),
    Deed("delete", "", "delete this chat", delete),
    Deed("undo", "", "bring back what was deleted or replaced", undo),
    Deed("edit", "[n]", "ask question n again, edited", edit, _numbers),
    Deed("retry", "", "ask the last question once more", retry),
    Deed("fork", "[n]", "go on from question n in a new chat", fork, _numbers),
    Deed("good", "[n]", "mark an answer good, to learn from", marked("good"), _numbers),
    Deed("bad", "[n]", "mark an answer bad", marked("bad"), _numbers),
    Deed("correct", "[TEXT]", "say how the answer should have been", correct),
    Deed("export", "[FILE]", "write this chat to FILE.md or .json", export),
    Deed("save", "[FILE]", "the same as /export", export),
)
