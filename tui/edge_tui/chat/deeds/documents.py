"""/add, /docs, /sources: the documents and where answers stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.chat import slash
from edge_tui.chat.deeds import Deed
from edge_tui.chat.typed_paths import fitting_last
from edge_tui.chat.widgets.conversation import Note

if TYPE_CHECKING:
    from edge_tui.chat.app import ChatApp


async def add(app: ChatApp, argument: str) -> None:
    if not argument:
        app.action_add()
        return
    await app.add_documents(slash.paths(argument))


async def docs(app: ChatApp, _argument: str) -> None:
    names = "\n".join(document.path for document in app.session.documents)
    await app.conversation.say(Note(names or "There are no documents yet; /add PATH adds some."))


def paths(_app: ChatApp, begun: str) -> list[str]:
    return fitting_last(begun)


def sources(app: ChatApp, argument: str) -> None:
    if not argument:
        app.action_sources()
        return
    app.sources.show(app.sources.sources, int(argument) if argument.isdecimal() else 0)
    app.open_sources()


DEEDS = (
    Deed("add", "PATH…", "add files or folders to the documents", add, paths),
    Deed("docs", "", "list the documents", docs),
    Deed("sources", "[n]", "show the passage that source n stands on", sources),
)
