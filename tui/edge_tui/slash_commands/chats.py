"""/chats, /search, /continue, /rename, /delete, /undo, /export: the chats that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge_tui.session.chat_history import LATEST
from edge_tui.slash_commands.base import SlashCommand, View, session_command, show
from edge_tui.slash_commands.typed_paths import fitting

if TYPE_CHECKING:
    from edge_tui.session.events import Event
    from edge_tui.session.session import Session


def continue_(session: Session, argument: str) -> Iterator[Event]:
    if argument and not argument.isdecimal():
        raise UsageError("/continue takes the number of a chat; /chats lists them")
    yield from session.from_history(session.history.reopen(int(argument) if argument else LATEST))


def rename(view: View, title: str) -> None:
    history = view.session.history

    def take(line: str) -> None:
        view.submit(history.rename(line))

    if title:
        take(title)
    else:
        hint = "Enter gives the chat this name, Esc leaves it."
        view.edit(history.title, hint, take, usage="What is it to be called? /rename NAME")


def delete(view: View, _argument: str) -> None:
    view.submit(view.session.history.delete())
    view.restart()


def undo(session: Session, _argument: str) -> Iterator[Event]:
    return session.from_history(session.history.undo())


def export(view: View, argument: str) -> None:
    """It may be asked for while an answer comes: what is there is written."""
    view.submit(view.session.history.export(Path(argument).expanduser().absolute() if argument else None))


def files(_view: View, begun: str) -> list[str]:
    return fitting(begun)


COMMANDS = (
    SlashCommand("chats", "", "list the kept chats", show("chats")),
    SlashCommand("search", "WORDS", "search the kept chats", show("search")),
    session_command("continue", "[n]", "go on with the chat before this, or with chat n", continue_),
    SlashCommand("rename", "[NAME]", "give this chat another name", rename),
    SlashCommand("delete", "", "delete this chat", delete),
    session_command("undo", "", "bring back what was deleted or replaced", undo),
    SlashCommand("export", "[FILE]", "write this chat to FILE.md or .json", export, files),
    SlashCommand("save", "[FILE]", "the same as /export", export, files),
)
