"""/adapter, /copy: who answers, and what was answered."""

from __future__ import annotations

from functools import partial

from edge_tui.session import picker_items
from edge_tui.session.picker_items import OFF
from edge_tui.slash_commands.base import SlashCommand, View
from edge_tui.slash_commands.typed_paths import fitting


def adapter(view: View, argument: str) -> None:
    session = view.session
    if argument:
        view.submit(session.adapt(None if argument == OFF else argument))
    else:
        items = partial(picker_items.adapters, session.loaded())
        view.choose("Who answers?", items, session.adapter or OFF, partial(adapter, view))


def adapters(view: View, begun: str) -> list[str]:
    """Names of the library, or files and folders for what looks like a path."""
    return [name for name in (OFF, *view.session.adapters()) if name.startswith(begun)] or fitting(begun)


def copy(view: View, _argument: str) -> None:
    if view.session.answer:
        view.copy(view.session.answer, "the last answer")
    else:
        view.notify("There is no answer yet.")


COMMANDS = (
    SlashCommand("adapter", "[NAME|off]", "let another LoRA answer, or the plain base", adapter, adapters),
    SlashCommand("copy", "", "copy the last answer", copy, app_only=True),
)
