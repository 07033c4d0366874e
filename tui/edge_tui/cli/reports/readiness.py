"""Whether `edge ask` would answer, found out with the functions by which it would: settings, model, index, encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.settings import Settings
    from edge_tui.cli.options import Request


def refusals() -> list[str]:
    """A sentence for everything for which `edge ask`, with documents or without, would refuse."""
    from edge_tui.cli.options import Request

    try:
        request = Request.of(docs=(), adapter=None, scale=None, force=False)
    except EdgeError as error:
        return [str(error)]
    checks: tuple[Callable[[], None], ...] = (
        lambda: _load_model(request),
        lambda: _open_index(request.settings),
        lambda: _open_encoder(request.settings),
    )
    found = [said for check in checks if (said := _refusal(check)) is not None]
    return list(dict.fromkeys(found))


def used_model() -> Path | None:
    """The model that answers unless another is named; None where that is not clear."""
    from edge import library
    from edge_tui.cli.options import settings

    try:
        wanted = settings()
        return library.find_model(wanted.model, engine=wanted.engine)
    except EdgeError:
        return None


def _refusal(check: Callable[[], None]) -> str | None:
    try:
        check()
    except (EdgeError, OSError, RuntimeError) as error:
        return str(error)
    return None


def _load_model(request: Request) -> None:
    from edge_tui.cli.inputs import resources

    resources.model_loader(request)().close()


def _open_index(settings: Settings) -> None:
    from edge_tui.cli.inputs import resources

    chosen = resources.chosen_index(settings)
    if chosen is None:
        return
    index = resources.open_index(chosen, settings)
    try:
        index.search("edge", 1)
    finally:
        index.close()


def _open_encoder(settings: Settings) -> None:
    from edge_tui.cli.inputs import resources

    resources.open_encoder(settings)
