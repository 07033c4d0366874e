"""/add, /docs, /sources: the documents and where answers stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.chat import slash
from edge_tui.chat.deeds import Deed
from edge_tui.chat.widgets.conversation import AddingNote, Note

if TYPE_CHECKING:
    from edge_tui.chat.app import ChatApp


async def add(app: ChatApp, argument: str) -> None:
    if not argument:
        app.action_add()
        return
    view = AddingNote()
    await app.conversation.say(view)
    app.submit(app.session.add(slash.paths(argument), app.note_progress), view)


async def docs(app: ChatApp, _argument: str) -> None:
    names = "\n".join(document.path for document in app.session.documents)
    await app.conversation.say(Note(names or "There are no documents yet; /add PATH adds some."))


def sources(app: ChatApp, argument: str) -> None:
    if not argument:
        app.action_sources()
        return
    app.sources.show(app.sources.sources, int(argument) if argument.isdecimal() else 0)
    app.open_sources()


DEEDS = (
    Deed("add", "PATH…", "add files or folders to the documents", add),
    Deed("docs", "", "list the documents", docs),
    Deed("sources", "[n]", "show the passage that source n stands on", sources),
)
