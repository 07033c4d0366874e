"""/model, /index, /system, /sampling, /think: who answers, from what, told what, and how the words are chosen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge.rag.prompts import SYSTEM, SYSTEM_WITH_PASSAGES
from edge_tui.app.widgets.conversation import HelpNote, Note
from edge_tui.session import choices, sampling
from edge_tui.session.choices import OFF
from edge_tui.slash_commands import Deed
from edge_tui.slash_commands.typed_paths import fitting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat
    from edge_tui.session.choices import Choice
    from edge_tui.session.events import Event
    from edge_tui.session.session import Session

DEFAULT = "default"
ON, SHOW = "on", "show"
_SETTINGS = "[key=value …|default]"


def model(app: ChatApp, argument: str) -> None:
    if argument:
        app.submit(_switch_model(app.session, argument), None)
        return
    app.choose("Which model answers?", choices.models, _model_now(app.session), partial(model, app))


def plain_model(chat: PlainChat, argument: str) -> None:
    if argument:
        chat.run(_switch_model(chat.session, argument))
    else:
        _list(chat, choices.models(), _model_now(chat.session))


def _switch_model(session: Session, wanted: str) -> Iterator[Event]:
    return session.run("switching", partial(session.switch_jobs.model, wanted))


def _model_now(session: Session) -> str:
    loaded = session.loaded()
    return str(loaded.path) if loaded is not None and loaded.path is not None else ""


def models(_app: ChatApp, begun: str) -> list[str]:
    """Names of the library, or files and folders for what looks like a path."""
    from edge import library

    names = [entry.name for entry in library.models() if entry.name.lower().startswith(begun.lower())]
    return names or fitting(begun)


def index(app: ChatApp, argument: str) -> None:
    if argument:
        app.submit(_switch_index(app.session, argument), None)
        return
    app.choose("Which documents?", choices.indexes, _index_now(app.session), partial(index, app))


def plain_index(chat: PlainChat, argument: str) -> None:
    if argument:
        chat.run(_switch_index(chat.session, argument))
    else:
        _list(chat, choices.indexes(), _index_now(chat.session))


def _switch_index(session: Session, wanted: str) -> Iterator[Event]:
    return session.run("switching", lambda _stopped: session.switch_jobs.index(None if wanted == OFF else wanted))


def _index_now(session: Session) -> str:
    now = session.index_path
    return str(now) if now is not None else OFF


def indexes(_app: ChatApp, begun: str) -> list[str]:
    """Names of the library, or folders for what looks like a path."""
    from edge import library

    names = [name for name in (OFF, *(entry.name for entry in library.indexes())) if name.startswith(begun)]
    return names or [path for path in fitting(begun) if path.endswith("/")]


def _list(chat: PlainChat, lines: Sequence[Choice], now: str) -> None:
    for each in lines:
        detail = ", ".join(part for part in (each.detail, each.problem) if part)
        chat.say(f"{each.name}{', answers now' if each.key == now else ''}{': ' if detail else ''}{detail}")
    if not lines:
        chat.say("There is none on this machine yet.")


async def system(app: ChatApp, argument: str) -> None:
    await app.conversation.say(Note(_told(app.session, argument)))


def plain_system(chat: PlainChat, argument: str) -> None:
    chat.say(*_told(chat.session, argument).splitlines())


def _told(session: Session, argument: str) -> str:
    """Change what the model is told first, if there is an argument; how it stands then."""
    if argument:
        session.system = {OFF: "", DEFAULT: None}.get(argument, argument)
    if session.system is None:
        own = SYSTEM_WITH_PASSAGES if session.documents else SYSTEM
        return f"The model is told edge's own words first: {own}\n/system TEXT gives it others, /system off none."
    if session.system:
        return f"The model is told this first: {session.system}\n/system default leads back to edge's own words."
    return "The model is told nothing before the question. /system default leads back to edge's own words."


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


def plain_sample(chat: PlainChat, argument: str) -> None:
    session = chat.session
    try:
        session.sampling = sampling.changed(session.sampling, argument, session.first_sampling)
    except UsageError as error:
        chat.fail(f"Nothing was changed: {error}.")
        return
    chat.say(*(f"{setting}: {what}" for setting, what in sampling.rows(session.sampling)))


def samples(_app: ChatApp, begun: str) -> list[str]:
    return list(sampling.completed(begun))


async def think(app: ChatApp, argument: str) -> None:
    if argument == SHOW:
        app.action_thinking()
        return
    try:
        await app.conversation.say(Note(_thinks(app.session, argument)))
    except UsageError as error:
        await app.conversation.say(Note(f"{error}.", "error"))


def plain_think(chat: PlainChat, argument: str) -> None:
    if argument == SHOW:
        turns = chat.session.history.turns
        thinking = turns[-1].answer.thinking if turns else None
        if thinking:
            chat.say(thinking)
        else:
            chat.fail("Nothing was thought before the last answer.")
        return
    try:
        chat.say(_thinks(chat.session, argument))
    except UsageError as error:
        chat.fail(f"{error}.")


def _thinks(session: Session, argument: str) -> str:
    """Switch it, if there is an argument; how it stands then."""
    if argument not in ("", ON, OFF):
        raise UsageError(f"/think takes {ON}, {OFF} or {SHOW}")
    if argument:
        session.think = argument == ON
    if session.think:
        return "The model thinks before it answers, if it is one that can. /think off ends that."
    return "The model answers at once, if it is one that can. /think on lets it think first."


def thinks(_app: ChatApp, begun: str) -> list[str]:
    return [word for word in (ON, OFF, SHOW) if word.startswith(begun)]


DEEDS = (
    Deed("model", "[NAME|PATH]", "let another model answer", model, models, plain_model),
    Deed("index", "[NAME|DIR|off]", "answer from the documents of another index", index, indexes, plain_index),
    Deed("system", "[TEXT|off|default]", "what the model is told first", system, systems, plain_system),
    Deed("sampling", _SETTINGS, "how the words are chosen: temperature and its like", sample, samples, plain_sample),
    Deed("think", "[on|off|show]", "let the model think first, or see what it thought", think, thinks, plain_think),
)
