"""/documents, /add, /remove, /reread, /sources: the documents and where answers stand in them."""

from __future__ import annotations

from edge_tui.slash_commands import parser
from edge_tui.slash_commands.base import SlashCommand, View, show
from edge_tui.slash_commands.typed_paths import fitting_last

STALE = "stale"
"""In the place of a path: everything that is no longer what was read."""


def add(view: View, argument: str) -> None:
    if argument:
        view.add_documents(parser.paths(argument))
    else:
        view.panels["add"]("")


def paths(_view: View, begun: str) -> list[str]:
    return fitting_last(begun)


def known(view: View, begun: str) -> list[str]:
    """Documents by the beginning of their path."""
    return [document.path for document in view.session.documents if document.path.startswith(begun)][:50]


def reread(view: View, argument: str) -> None:
    if argument and argument != STALE:
        view.add_documents(parser.paths(argument), again=True)
    else:
        view.panels["stale"]("")


def stale_or_known(view: View, begun: str) -> list[str]:
    return [*([STALE] if STALE.startswith(begun) else []), *known(view, begun)]


COMMANDS = (
    SlashCommand("add", "PATH…", "add files or folders to the documents", add, paths),
    SlashCommand("documents", "", "see all documents; remove some, read some again", show("documents")),
    SlashCommand("docs", "", "short for /documents", show("documents")),
    SlashCommand("remove", "PATH…", "take documents or folders out; the files stay", show("remove"), known),
    SlashCommand("reread", "[PATH…|stale]", "read documents again", reread, stale_or_known),
    SlashCommand("sources", "[n]", "show the passage that source n stands on", show("sources")),
)
