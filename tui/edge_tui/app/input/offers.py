"""What the app offers: completions of what is typed, to add what was dropped, the documents, the first steps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge_tui.app.input.completions import completions
from edge_tui.app.widgets.conversation import Note
from edge_tui.slash_commands.typed_paths import Drop, look, named
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_tui.app.app import ChatApp
    from edge_tui.app.input.prompt import Prompt
    from edge_tui.app.screens.documents import DocumentsScreen
    from edge_tui.slash_commands import Deed


async def complete(app: ChatApp, prompt: Prompt, text: str) -> None:
    """Fill the list above the input for `text`, unless something else stands there by then."""

    def arguments(deed: Deed, begun: str) -> Sequence[str]:
        try:
            return deed.complete(app, begun) if deed.complete is not None else ()
        except (EdgeError, OSError):  # a list that cannot be made is none; sending the line tells why
            return ()

    found = await asyncio.to_thread(completions, text, app.deeds, arguments)
    if prompt.text == text:
        app.completion.offer(found)


async def take_drop(app: ChatApp, prompt: Prompt, paths: Sequence[str], text: str) -> None:
    """Offer to add what was dropped; text that only looked like it goes into the input."""
    drop = await asyncio.to_thread(look, paths, text)
    if not drop.certain:
        prompt.insert(text)
        return
    if drop.missing:
        await app.conversation.say(Note(_missing(drop), "error"))
    if not drop.there:
        return
    if len(app.screen_stack) > 1:
        return
    from edge_tui.app.screens.choose import ChooseScreen

    async def chosen(what: str | None) -> None:
        if what == "add":
            await app.add_documents(drop.there)
        elif what == "text":
            prompt.insert(text)

    lines = [("add", "Add to the documents"), ("text", "Put the text into the input")]
    app.push_screen(ChooseScreen(_question(drop.there), lines, "add"), chosen)


async def show_documents(app: ChatApp) -> DocumentsScreen | None:
    """Show all documents; the screen, unless another one stands in the way."""
    from edge_tui.app.screens.documents import DocumentsScreen

    if len(app.screen_stack) > 1:
        return None
    screen = DocumentsScreen()
    await app.push_screen(screen)
    return screen


async def greet(app: ChatApp) -> None:
    """Show what is on this machine and how to begin."""
    from edge_tui.app.screens.welcome import WelcomeScreen

    if len(app.screen_stack) == 1:
        await app.push_screen(WelcomeScreen())


def _question(there: Sequence[Path]) -> str:
    what = there[0].name or str(there[0])
    first = f"Add {visible_name(what)}?" if len(there) == 1 else f"Add {len(there):,} files and folders?"
    return "\n".join([first, *map(visible_name, named(there))])


def _missing(drop: Drop) -> str:
    one = len(drop.missing) == 1
    first = "This path does not exist:" if one else f"{len(drop.missing):,} of the dropped paths do not exist:"
    return "\n".join([first, *named(drop.missing), "Was it moved? Drop it again from where it is, or type /add PATH."])
