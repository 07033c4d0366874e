"""/adapter, /copy: who answers, and what was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.session import choices
from edge_tui.session.choices import OFF
from edge_tui.slash_commands import Deed
from edge_tui.slash_commands.typed_paths import fitting

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat


def adapter(app: ChatApp, argument: str) -> None:
    if argument:
        app.submit(app.session.adapt(None if argument == OFF else argument), None)
        return

    def chosen(name: str) -> None:
        adapter(app, name)

    if not app.session.adapters():
        app.notify("There is no adapter yet; /adapter PATH takes one, `edge adapters add PATH` keeps it.", timeout=5)
    else:
        app.choose("Who answers?", lambda: choices.adapters(app.session.loaded()), app.session.adapter or OFF, chosen)


def adapters(app: ChatApp, begun: str) -> list[str]:
    """Names of the library, or files and folders for what looks like a path."""
    return [name for name in (OFF, *app.session.adapters()) if name.startswith(begun)] or fitting(begun)


def copy(app: ChatApp, _argument: str) -> None:
    app.action_copy()


def plain_adapter(chat: PlainChat, argument: str) -> None:
    if argument:
        chat.run(chat.session.adapt(None if argument == OFF else argument))
        return
    for name in (OFF, *chat.session.adapters()):
        chat.say(f"{name}, in use" if name == (chat.session.adapter or OFF) else name)


DEEDS = (
    Deed("adapter", "[NAME|off]", "let another LoRA answer, or the plain base", adapter, adapters, plain_adapter),
    Deed("copy", "", "copy the last answer", copy),
)
