"""/code, /context, /theme, /keys: reading an answer, and how the app looks and listens."""

from __future__ import annotations

from edge_tui.rendering import markdown
from edge_tui.slash_commands.base import SlashCommand, View, show
from edge_tui.terminal import printable


def code(view: View, argument: str) -> None:
    blocks = markdown.code_blocks(view.session.answer)
    if argument and not (argument.isdecimal() and int(argument)):
        view.fail("/code takes the number of a block of code, counted from 1.")
    elif not blocks:
        view.notify("The last answer has no block of code.")
    elif argument and int(argument) > len(blocks):
        view.notify(f"The last answer has the blocks of code 1 to {len(blocks)}.")
    else:
        number = int(argument or len(blocks))
        what = "the block of code" if len(blocks) == 1 else f"block {number} of {len(blocks)}"
        view.copy(printable(blocks[number - 1]), what)


def themes(view: View, begun: str) -> list[str]:
    return [name for name in view.theme_names if name.startswith(begun)]


COMMANDS = (
    SlashCommand("code", "[n]", "copy the last block of code, or block n", code),
    SlashCommand("context", "", "show where the context of the last answer went, or hide it", show("context")),
    SlashCommand("theme", "[NAME]", "other colours: dark, light, contrast", show("theme"), themes, app_only=True),
    SlashCommand("keys", "", "show the keys as config.toml has them", show("keys"), app_only=True),
)
