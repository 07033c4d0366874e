"""/new, /help, /quit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.app import keys
from edge_tui.slash_commands import Deed, every

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat


async def new(app: ChatApp, _argument: str) -> None:
    await app.action_new()


async def help_(app: ChatApp, _argument: str) -> None:
    from edge_tui.app.widgets.conversation import HelpNote

    await app.conversation.say(HelpNote([(deed.usage, deed.what) for deed in every().values()], keys.lines(app.keymap)))


def quit_(app: ChatApp, _argument: str) -> None:
    app.exit()


def plain_new(chat: PlainChat, _argument: str) -> None:
    chat.restart()


def plain_help(chat: PlainChat, _argument: str) -> None:
    chat.say(*(f"{deed.usage}: {deed.what}" for deed in chat.deeds.values()))
    chat.say("Anything else is a question. Ctrl+C stops an answer, Ctrl+D leaves.")


def plain_quit(chat: PlainChat, _argument: str) -> None:
    chat.leaving = True


DEEDS = (
    Deed("new", "", "begin a new conversation", new, plain=plain_new),
    Deed("help", "", "show this", help_, plain=plain_help),
    Deed("quit", "", "leave", quit_, plain=plain_quit),
)
