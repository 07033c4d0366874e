"""`edge chat`: the way into the terminal app."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edge_tui.commands.options import Request, answering

if TYPE_CHECKING:
    from edge.model import Model
    from edge_index import Index


@click.command(epilog="Example: edge chat --docs manuals/")
@answering
def chat(**told: Any) -> None:
    """Talk with your documents in a terminal app.

    Sources stand beside every answer, Esc stops it, and documents can be added from inside. Without --docs
    and --index the index called default is used; it is made when documents are added.
    """
    from edge import library
    from edge.errors import UsageError

    request = Request.of(**told)
    # Textual reads standard input and draws on standard error.
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError('edge chat needs a terminal; without one use: edge ask "QUESTION"')
    from edge_tui.chat.app import run
    from edge_tui.chat.session import Session
    from edge_tui.commands import opening

    if request.docs:
        path = opening.docs_index(request.docs, request.settings)
    else:
        path = opening.chosen_index(request.settings) or library.find_index(opening.DEFAULT_INDEX)

    def open_model() -> Model:
        return opening.model_loader(request)()

    def open_knowledge() -> Index:
        return opening.open_index(path, request.settings, create=True)

    run(
        Session(
            open_model,
            open_knowledge,
            documents=request.docs,
            adapter=opening.adapter_name(request),
            system=request.settings.system,
            k=request.settings.k,
            prompt_passages=request.settings.prompt_passages,
            certainty=request.settings.certainty,
            sampling=request.sampling(),
        ),
        theme=request.settings.theme,
        keys=request.settings.keys,
    )
