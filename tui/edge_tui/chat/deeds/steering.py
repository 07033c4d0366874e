"""/model, /index, /system, /sampling: who answers, from what, told what, and how the words are chosen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge.prompts import SYSTEM, SYSTEM_WITH_PASSAGES
from edge_tui.chat import choices, sampling
from edge_tui.chat.choices import OFF
from edge_tui.chat.deeds import Deed
from edge_tui.chat.widgets.conversation import HelpNote, Note

if TYPE_CHECKING:
    from edge_tui.chat.app import ChatApp

DEFAULT = "default"


def model(app: ChatApp, argument: str) -> None:
    if argument:
        app.submit(app.session.run("switching", partial(app.session.switching.model, argument)), None)
        return
    loaded = app.session.loaded()
    now = str(loaded.path) if loaded is not None and loaded.path is not None else ""
    app.choose("Which model answers?", choices.models, now, partial(model, app))


def models(_app: ChatApp, begun: str) -> list[str]:
    from edge import library

    return [entry.name for entry in library.models() if entry.name.lower().startswith(begun.lower())]


def index(app: ChatApp, argument: str) -> None:
    if argument:
        wanted = None if argument == OFF else argument
        app.submit(app.session.run("switching", lambda _stopped: app.session.switching.index(wanted)), None)
        return
    now = app.session.index_path
    app.choose("Which documents?", choices.indexes, str(now) if now is not None else OFF, partial(index, app))


def indexes(_app: ChatApp, begun: str) -> list[str]:
    from edge import library

    return [name for name in (OFF, *(entry.name for entry in library.indexes())) if name.startswith(begun)]


async def system(app: ChatApp, argument: str) -> None:
    session = app.session
    if argument:
        session.system = {OFF: "", DEFAULT: None}.get(argument, argument)
    if session.system is None:
        own = SYSTEM_WITH_PASSAGES if session.documents else SYSTEM
        text = f"The model is told edge's own words first: {own}\n/system TEXT gives it others, /system off none."
    elif session.system:
        text = f"The model is told this first: {session.system}\n/system default leads back to edge's own words."
    else:
        text = "The model is told nothing before the question. /system default leads back to edge's own words."
    await app.conversation.say(Note(text))


def systems(_app: ChatApp, begun: str) -> list[str]:
    return [word for word in (OFF, DEFAULT) if word.startswith(begun)]


async def sample(app: ChatApp, argument: str) -> None:
    session = app.session
    try:
        session.sampling = sampling.changed(session.sampling, argument, session.first_sampling)
    except UsageError as error:
        await app.conversation.say(Note(f"Nothing was changed: {error}.", "error"))
        return
    await app.conversation.say(HelpNote(sampling.rows(session.sampling)))


def samples(_app: ChatApp, begun: str) -> list[str]:
    return list(sampling.completed(begun))


DEEDS = (
    Deed("model", "[NAME|PATH]", "let another model answer", model, models),
    Deed("index", "[NAME|DIR|off]", "answer from the documents of another index", index, indexes),
    Deed("system", "[TEXT|off|default]", "what the model is told first", system, systems),
    Deed("sampling", "[key=value …|default]", "how the words are chosen: temperature and its like", sample, samples),
)
