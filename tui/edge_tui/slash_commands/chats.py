"""/chats, /search, /continue, /rename, /delete, /undo, /export: the chats that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError, UsageError
from edge_tui.slash_commands import Deed, job
from edge_tui.slash_commands.typed_paths import fitting

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat
    from edge_tui.session.events import Event
    from edge_tui.session.session import Session


def chats(app: ChatApp, words: str) -> None:
    from edge_tui.app.screens.chats import ChatsScreen

    keeping = app.session.history

    async def deleted(number: int) -> None:
        keeping.deleted(number)
        if number == keeping.number:
            await app.action_new()

    def chosen(number: int | None) -> None:
        if number is not None and number != keeping.number and not app.busy():
            app.submit(app.session.from_history(keeping.reopen(number)), None)

    if len(app.screen_stack) == 1:
        app.push_screen(ChatsScreen(keeping.visit, words, deleted), chosen)


def plain_chats(chat: PlainChat, _argument: str) -> None:
    try:
        with chat.session.history.visit() as store:
            entries = store.chats()
    except EdgeError as error:
        chat.fail(str(error))
        return
    for entry in entries:
        many = f"{entry.questions} question{'' if entry.questions == 1 else 's'}"
        chat.say(f"{entry.id}: {entry.title}, {entry.updated[:10]}, {many}")
    chat.say("/continue and a number goes on with one." if entries else "No chat is kept yet.")


def plain_search(chat: PlainChat, words: str) -> None:
    if not words:
        chat.fail("What is to be found? /search WORDS")
        return
    try:
        with chat.session.history.visit() as store:
            hits = store.search(words)
    except EdgeError as error:
        chat.fail(str(error))
        return
    for hit in hits:
        chat.say(f"{hit.chat.id}: {hit.chat.title}, {hit.chat.updated[:10]}")
        if hit.role != "title":
            chat.say(f"    {'you' if hit.role == 'user' else 'model'}: {hit.excerpt}")
    if not hits:
        chat.say("No chat holds all these words.")


def continue_(session: Session, argument: str) -> Iterator[Event]:
    from edge_tui.session.chat_history import LATEST

    if argument and not argument.isdecimal():
        raise UsageError("/continue takes the number of a chat; /chats lists them")
    yield from session.from_history(session.history.reopen(int(argument) if argument else LATEST))


async def rename(app: ChatApp, title: str) -> None:
    async def take(line: str) -> None:
        app.submit(app.session.history.rename(line), None)

    if title:
        await take(title)
    else:
        app.write_instead(app.session.history.title, "Enter gives the chat this name, Esc leaves it.", take)


def plain_rename(chat: PlainChat, title: str) -> None:
    if title:
        chat.run(chat.session.history.rename(title))
    else:
        chat.fail("What is it to be called? /rename NAME")


async def delete(app: ChatApp, _argument: str) -> None:
    app.submit(app.session.history.delete(), None)
    await app.action_new()


def plain_delete(chat: PlainChat, _argument: str) -> None:
    chat.run(chat.session.history.delete())
    chat.restart()


def undo(session: Session, _argument: str) -> Iterator[Event]:
    return session.from_history(session.history.undo())


def export(session: Session, argument: str) -> Iterator[Event]:
    return session.history.export(Path(argument).expanduser().absolute() if argument else None)


def files(_app: ChatApp, begun: str) -> list[str]:
    return fitting(begun)


def _export(name: str, what: str) -> Deed:
    """It may be asked for while an answer comes: what is there is written."""

    def do(app: ChatApp, argument: str) -> None:
        app.submit(export(app.session, argument), None)

    def plain(chat: PlainChat, argument: str) -> None:
        chat.run(export(chat.session, argument))

    return Deed(name, "[FILE]", what, do, files, plain)


DEEDS = (
    Deed("chats", "", "list the kept chats", chats, plain=plain_chats),
    Deed("search", "WORDS", "search the kept chats", chats, plain=plain_search),
    job("continue", "[n]", "go on with the chat before this, or with chat n", continue_),
    Deed("rename", "[NAME]", "give this chat another name", rename, plain=plain_rename),
    Deed("delete", "", "delete this chat", delete, plain=plain_delete),
    job("undo", "", "bring back what was deleted or replaced", undo),
    _export("export", "write this chat to FILE.md or .json"),
    _export("save", "the same as /export"),
)
