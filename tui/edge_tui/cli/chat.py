"""`edge chat`: the way into the terminal app."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edge_tui.cli.options import Request, answering
from edge_tui.cli.output import status
from edge_tui.terminal import is_dumb

if TYPE_CHECKING:
    from edge.model import Model
    from edge_index import Index
    from edge_tui.session.chat_history import ChatHistory
    from edge_tui.session.session import Session


@click.command(epilog="Example: edge chat --docs manuals/")
@answering
@click.option("-c", "--continue", "last", is_flag=True, help="Go on with the last chat.")
@click.option("--chat", "number", type=click.IntRange(1), metavar="ID", help="Go on with a chat (edge chats list).")
@click.option("--keep/--no-keep", "keep_chats", default=None, help="Whether what is said is kept (default: yes).")
@click.option("--plain", is_flag=True, help="Lines of text instead of the app: for screen readers and scripts.")
def chat(last: bool, number: int | None, plain: bool, **options: Any) -> int:
    """Talk with your documents in a terminal app.

    Sources stand beside every answer, Esc stops it, and documents can be added from inside. Without --docs
    and --index the index called default is used; it is made when documents are added.

    With --plain questions and /commands are read line by line, from a pipe too; nothing is drawn or coloured.
    Answers go to standard output, everything else to standard error.
    """
    from edge.errors import UsageError

    if last and number is not None:
        raise click.UsageError("give either --continue or --chat, not both")
    request = Request.of(**options)
    # Textual reads standard input and draws on standard error.
    if not plain and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            'edge chat needs a terminal; without one use: edge ask "QUESTION", or edge chat --plain, which reads lines'
        )
    if not plain and is_dumb():
        status("TERM=dumb: nothing can be drawn here, so this is edge chat --plain.")
        plain = True
    from edge_tui.session.chat_history import LATEST

    session = _session(request, LATEST if last else number)
    if plain:
        from edge_tui.plain.chat import PlainChat

        person = sys.stdin.isatty()
        if not person:
            getattr(sys.stdin, "reconfigure", lambda **_: None)(errors="replace")
        return PlainChat(session, sys.stdin, sys.stdout, sys.stderr, invite=person).loop()
    from edge_tui.app.app import run
    from edge_tui.verbosity import leave_the_screen

    leave_the_screen()
    run(session, theme=request.settings.theme, keys=request.settings.keys, welcome=True)
    return 0


def _session(request: Request, reopen: int | None) -> Session:
    """A session with the model and the documents of the command line; nothing is opened yet."""
    from edge import library
    from edge_tui.cli.inputs import resources
    from edge_tui.session.session import Session

    if request.docs:
        path = resources.docs_index(request.docs, request.settings)
    else:
        path = resources.chosen_index(request.settings) or library.find_index(resources.DEFAULT_INDEX)

    def open_model() -> Model:
        return resources.model_loader(request)()

    def open_knowledge() -> Index:
        return resources.open_index(path, request.settings, create=True)

    return Session(
        open_model,
        open_knowledge,
        documents=request.docs,
        adapter=resources.adapter_name(request),
        system=request.settings.system,
        rag=request.rag_options(),
        think=request.settings.think,
        sampling=request.sampling(),
        openers=resources.openers(request),
        prewarm_bytes=int(request.settings.kv_budget * 1e9) if request.settings.prewarm else 0,
        history=_chat_history(request.settings.keep_chats, str(path), reopen),
    )


def _chat_history(wanted: bool, index: str, reopen: int | None) -> ChatHistory:
    """What keeps the chat. Whether there is the one to go on with is known before the app runs."""
    from edge.errors import UsageError
    from edge.system import paths
    from edge_tui.session.chat_history import LATEST, ChatHistory

    if not wanted:
        if reopen is not None:
            raise UsageError("chats are not kept (keep_chats is off); add --keep to go on with one")
        return ChatHistory()
    if reopen not in (None, LATEST):
        from edge_tui.history.store import Store

        with Store(paths.chats_file()) as store:
            store.chat(reopen)
    return ChatHistory(paths.chats_file(), index=index, reopen=reopen)
