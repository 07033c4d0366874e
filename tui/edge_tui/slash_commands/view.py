"""/code, /context, /theme, /keys: reading an answer, and how the app looks and listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.app import keys
from edge_tui.app.widgets.conversation import HelpNote, Note
from edge_tui.rendering import markdown
from edge_tui.rendering.context_usage import left_out, parts
from edge_tui.slash_commands import Deed

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat


async def code(app: ChatApp, argument: str) -> None:
    if argument and not (argument.isdecimal() and int(argument)):
        await app.conversation.say(Note("/code takes the number of a block of code, counted from 1.", "error"))
        return
    app.action_code(int(argument or 0))


def plain_code(chat: PlainChat, argument: str) -> None:
    """The block itself: there is nothing to paste it from."""
    blocks = markdown.code_blocks(chat.session.answer)
    number = argument or str(len(blocks))
    if not blocks:
        chat.fail("The last answer has no block of code.")
    elif number.isdecimal() and 1 <= int(number) <= len(blocks):
        chat.say(blocks[int(number) - 1].rstrip("\n"))
    else:
        chat.fail(f"The last answer has the blocks of code 1 to {len(blocks)}.")


async def context(app: ChatApp, _argument: str) -> None:
    await app.action_context()


def plain_context(chat: PlainChat, _argument: str) -> None:
    turns = chat.session.history.turns
    context_usage = turns[-1].answer.context_usage if turns else None
    if context_usage is None:
        chat.fail("No model was asked: there is no context to show.")
        return
    chat.say(
        f"Context: {context_usage.limit:,} tokens.", *(f"{part.name}: {part.tokens:,}" for part in parts(context_usage))
    )
    chat.say(left_out(context_usage))


async def theme(app: ChatApp, argument: str) -> None:
    from edge_tui.app import themes

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
    Deed("code", "[n]", "copy the last block of code, or block n", code, plain=plain_code),
    Deed("context", "", "show where the context of the last answer went, or hide it", context, plain=plain_context),
    Deed("theme", "[NAME]", "other colours: dark, light, contrast", theme, themes_of),
    Deed("keys", "", "show the keys as config.toml has them", show_keys),
)
