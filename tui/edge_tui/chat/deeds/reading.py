"""/code, /context, /theme, /keys: reading an answer, and how the app looks and listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.chat import keys
from edge_tui.chat.deeds import Deed
from edge_tui.chat.widgets.conversation import HelpNote, Note

if TYPE_CHECKING:
    from edge_tui.chat.app import ChatApp


async def code(app: ChatApp, argument: str) -> None:
    if argument and not (argument.isdecimal() and int(argument)):
        await app.conversation.say(Note("/code takes the number of a block of code, counted from 1.", "error"))
        return
    app.action_code(int(argument or 0))


async def context(app: ChatApp, _argument: str) -> None:
    await app.action_context()


async def theme(app: ChatApp, argument: str) -> None:
    from edge_tui.chat import themes

    if not argument:
        app.action_change_theme()
        return
    name = themes.named(argument)
    if name in app.available_themes:
        app.theme = name
        return
    known = ", ".join(themes_of(app, ""))
    await app.conversation.say(Note(f"There is no theme {argument!r}; there are: {known}.", "error"))


def themes_of(app: ChatApp, begun: str) -> list[str]:
    names = sorted(app.available_themes, key=lambda name: (not name.startswith("edge-"), name))
    return [name for name in (each.removeprefix("edge-") for each in names) if name.startswith(begun)]


async def show_keys(app: ChatApp, _argument: str) -> None:
    await app.conversation.say(Note("These are the lines of [keys] in config.toml; `edge paths` says where it is."))
    await app.conversation.say(HelpNote(keys.names(app.keymap)))


DEEDS = (
    Deed("code", "[n]", "copy the last block of code, or block n", code),
    Deed("context", "", "show where the context of the last answer went, or hide it", context),
    Deed("theme", "[NAME]", "other colours: dark, light, contrast", theme, themes_of),
    Deed("keys", "", "show the keys as config.toml has them", show_keys),
)
