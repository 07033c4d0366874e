"""/new, /help, /quit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.chat import keys
from edge_tui.chat.deeds import Deed, every
from edge_tui.chat.widgets.conversation import HelpNote

if TYPE_CHECKING:
    from edge_tui.chat.app import ChatApp


async def new(app: ChatApp, _argument: str) -> None:
    await app.action_new()


async def help_(app: ChatApp, _argument: str) -> None:
    await app.conversation.say(HelpNote([(deed.usage, deed.what) for deed in every().values()], keys.lines(app.keymap)))


def quit_(app: ChatApp, _argument: str) -> None:
    app.exit()


DEEDS = (
    Deed("new", "", "begin a new conversation", new),
    Deed("help", "", "show this", help_),
    Deed("quit", "", "leave", quit_),
)
