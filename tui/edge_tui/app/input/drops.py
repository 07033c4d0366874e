"""Files that were dropped on the terminal: the person says whether they are documents or only text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tui.session.picker_items import PickerItem
from edge_tui.slash_commands.typed_paths import Drop, look_up_drop, named
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge_tui.app.input.prompt import Prompt
    from edge_tui.app.view import AppView

_LINES = (PickerItem("add", "Add to the documents"), PickerItem("text", "Put the text into the input"))


async def offer(view: AppView, prompt: Prompt, paths: Sequence[str], text: str) -> None:
    """Offer to add what was dropped; text that only looked like it goes into the input."""
    drop = await asyncio.to_thread(look_up_drop, paths, text)
    if not drop.certain:
        prompt.insert(text)
        return
    if drop.missing:
        view.fail(_missing(drop))

    def chosen(what: str) -> None:
        if what == "add":
            view.add_documents(drop.there)
        else:
            prompt.insert(text)

    if drop.there:
        view.pick(_question(drop.there), _LINES, "add", chosen)


def _question(there: Sequence[Path]) -> str:
    what = there[0].name or str(there[0])
    first = f"Add {visible_name(what)}?" if len(there) == 1 else f"Add {len(there):,} files and folders?"
    return "\n".join([first, *map(visible_name, named(there))])


def _missing(drop: Drop) -> str:
    one = len(drop.missing) == 1
    first = "This path does not exist:" if one else f"{len(drop.missing):,} of the dropped paths do not exist:"
    return "\n".join([first, *named(drop.missing), "Was it moved? Drop it again from where it is, or type /add PATH."])
