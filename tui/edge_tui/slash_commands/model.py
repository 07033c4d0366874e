"""/model, /index, /system, /sampling, /think: who answers, from what, told what, and how the words are chosen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge import library
from edge.errors import UsageError
from edge.rag.prompts import SYSTEM, SYSTEM_WITH_PASSAGES
from edge_tui.session import picker_items, sampling
from edge_tui.session.picker_items import OFF
from edge_tui.slash_commands.base import SlashCommand, View
from edge_tui.slash_commands.typed_paths import fitting

if TYPE_CHECKING:
    from edge_tui.session.session import Session

DEFAULT = "default"
ON, SHOW = "on", "show"
_SETTINGS = "[key=value …|default]"


def model(view: View, argument: str) -> None:
    session = view.session
    if argument:
        view.submit(session.run("switching", partial(session.switch_jobs.model, argument)))
        return
    loaded = session.loaded()
    now = str(loaded.path) if loaded is not None and loaded.path is not None else ""
    view.choose("Which model answers?", picker_items.models, now, partial(model, view))


def models(_view: View, begun: str) -> list[str]:
    """Names of the library, or files and folders for what looks like a path."""
    names = [entry.name for entry in library.models() if entry.name.lower().startswith(begun.lower())]
    return names or fitting(begun)


def index(view: View, argument: str) -> None:
    session = view.session
    if argument:
        wanted = None if argument == OFF else argument
        view.submit(session.run("switching", lambda _stopped: session.switch_jobs.index(wanted)))
        return
    now = str(session.index_path) if session.index_path is not None else OFF
    view.choose("Which documents?", picker_items.indexes, now, partial(index, view))


def indexes(_view: View, begun: str) -> list[str]:
    """Names of the library, or folders for what looks like a path."""
    names = [name for name in (OFF, *(entry.name for entry in library.indexes())) if name.startswith(begun)]
    return names or [path for path in fitting(begun) if path.endswith("/")]


def system(view: View, argument: str) -> None:
    if argument:
        view.session.system = {OFF: "", DEFAULT: None}.get(argument, argument)
    view.say(_describe_system(view.session))


def _describe_system(session: Session) -> str:
    if session.system is None:
        own = SYSTEM_WITH_PASSAGES if session.documents else SYSTEM
        return f"The model is told edge's own words first: {own}\n/system TEXT gives it others, /system off none."
    if session.system:
        return f"The model is told this first: {session.system}\n/system default leads back to edge's own words."
    return "The model is told nothing before the question. /system default leads back to edge's own words."


def systems(_view: View, begun: str) -> list[str]:
    return [word for word in (OFF, DEFAULT) if word.startswith(begun)]


def sample(view: View, argument: str) -> None:
    session = view.session
    try:
        session.sampling = sampling.changed(session.sampling, argument, session.first_sampling)
    except UsageError as error:
        view.fail(f"Nothing was changed: {error}.")
        return
    view.table(sampling.rows(session.sampling))


def samples(_view: View, begun: str) -> list[str]:
    return list(sampling.completed(begun))


def think(view: View, argument: str) -> None:
    if argument == SHOW:
        view.panels["thinking"]("")
    elif argument not in ("", ON, OFF):
        view.fail(f"/think takes {ON}, {OFF} or {SHOW}.")
    else:
        if argument:
            view.session.think = argument == ON
        view.say(
            "The model thinks before it answers, if it is one that can. /think off ends that."
            if view.session.think
            else "The model answers at once, if it is one that can. /think on lets it think first."
        )


def thinks(_view: View, begun: str) -> list[str]:
    return [word for word in (ON, OFF, SHOW) if word.startswith(begun)]


COMMANDS = (
    SlashCommand("model", "[NAME|PATH]", "let another model answer", model, models),
    SlashCommand("index", "[NAME|DIR|off]", "answer from the documents of another index", index, indexes),
    SlashCommand("system", "[TEXT|off|default]", "what the model is told first", system, systems),
    SlashCommand("sampling", _SETTINGS, "how the words are chosen: temperature and its like", sample, samples),
    SlashCommand("think", "[on|off|show]", "let the model think first, or see what it thought", think, thinks),
)
