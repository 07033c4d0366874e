"""/documents, /add, /remove, /reread, /sources: the documents and where answers stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.rendering.document_tree import counts, line
from edge_tui.session.events import Surveyed
from edge_tui.slash_commands import Deed, parser
from edge_tui.slash_commands.typed_paths import fitting_last

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_tui.app.app import ChatApp
    from edge_tui.app.screens.documents import DocumentsScreen
    from edge_tui.plain import PlainChat
    from edge_tui.rendering.sources import Staleness

STALE = "stale"
"""In the place of a path: everything that is no longer what was read."""


async def add(app: ChatApp, argument: str) -> None:
    if not argument:
        app.action_add()
        return
    await app.add_documents(parser.paths(argument))


def plain_add(chat: PlainChat, argument: str) -> None:
    if argument:
        chat.run(chat.session.add(parser.paths(argument), chat.note_progress))
    else:
        chat.fail("Which file or folder? /add PATH")


def paths(_app: ChatApp, begun: str) -> list[str]:
    return fitting_last(begun)


def known(app: ChatApp, begun: str) -> list[str]:
    """Documents by the beginning of their path."""
    return [document.path for document in app.session.documents if document.path.startswith(begun)][:50]


async def show_documents(app: ChatApp) -> DocumentsScreen | None:
    from edge_tui.app.input import offers

    return await offers.show_documents(app)


async def documents(app: ChatApp, _argument: str) -> None:
    await show_documents(app)


def plain_documents(chat: PlainChat, _argument: str) -> None:
    stale = _survey(chat)
    if stale is None:
        return
    for document in chat.session.documents:
        _, numbers, state = line(document, stale)
        chat.say(f"{document.path}: {numbers}{', ' if state else ''}{state}")
    if not chat.session.documents:
        chat.say("There are no documents yet; /add PATH adds some.")
        return
    chat.say(f"{counts(chat.session.documents, stale)}.")
    if stale:
        chat.say("/reread stale reads those again that have changed.")


async def remove(app: ChatApp, argument: str) -> None:
    screen = await show_documents(app)
    if screen is not None and argument:
        screen.ask_to_remove([str(path) for path in parser.paths(argument)])


def plain_remove(chat: PlainChat, argument: str) -> None:
    if argument:
        chat.run(chat.session.remove(str(path) for path in parser.paths(argument)))
    else:
        chat.fail("Which document or folder? /remove PATH; /documents lists them")


async def reread(app: ChatApp, argument: str) -> None:
    if argument and argument != STALE:
        await app.add_documents(parser.paths(argument), again=True)
    elif (screen := await show_documents(app)) is not None:
        screen.reread_stale()


def plain_reread(chat: PlainChat, argument: str) -> None:
    if argument and argument != STALE:
        chat.run(chat.session.add(parser.paths(argument), chat.note_progress, again=True))
        return
    stale = _survey(chat)
    if stale is None:
        return
    changed = [path for path, state in stale.items() if state == "changed"]
    if changed:
        chat.run(chat.session.add(changed, chat.note_progress, again=True))
    else:
        chat.say("No document has changed since it was read.")


def _survey(chat: PlainChat) -> Mapping[str, Staleness] | None:
    """Which documents are stale; None where they cannot be looked at, which has been told."""
    found = [event.stale for event in chat.run(chat.session.survey()) if isinstance(event, Surveyed)]
    return found[0] if found else None


def stale_or_known(app: ChatApp, begun: str) -> list[str]:
    return [*([STALE] if STALE.startswith(begun) else []), *known(app, begun)]


def sources(app: ChatApp, argument: str) -> None:
    if not argument:
        app.action_sources()
        return
    app.sources.show(app.sources.sources, int(argument) if argument.isdecimal() else 0)
    app.open_sources()


def plain_sources(chat: PlainChat, argument: str) -> None:
    from edge_tui.plain import place

    wanted = [each for each in chat.sources if not argument or str(each.number) == argument]
    for source in wanted:
        chat.say(f"[{source.number}] {place(source)}", f"{source.before}{source.quote}{source.after}".strip(), "")
    if not wanted:
        chat.say(f"The last answer has {len(chat.sources)} sources." if chat.sources else "There are no sources yet.")


DEEDS = (
    Deed("add", "PATH…", "add files or folders to the documents", add, paths, plain_add),
    Deed("documents", "", "see all documents; remove some, read some again", documents, plain=plain_documents),
    Deed("docs", "", "short for /documents", documents, plain=plain_documents),
    Deed("remove", "PATH…", "take documents or folders out; the files stay", remove, known, plain_remove),
    Deed("reread", "[PATH…|stale]", "read documents again", reread, stale_or_known, plain_reread),
    Deed("sources", "[n]", "show the passage that source n stands on", sources, plain=plain_sources),
)
