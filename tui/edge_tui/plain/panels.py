"""What the app shows on screens and panes of its own, as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge_tui.plain.answer_printer import place
from edge_tui.plain.view import LineView
from edge_tui.rendering.context_usage import left_out, parts
from edge_tui.rendering.document_tree import counts, line
from edge_tui.session import welcome
from edge_tui.session.events import Surveyed
from edge_tui.slash_commands import parser

if TYPE_CHECKING:
    from edge_tui.rendering.sources import Staleness
    from edge_tui.slash_commands.base import Panel


def panels_of(view: LineView) -> dict[Panel, Callable[[str], None]]:
    """The panels of a view; the help, which needs to know the commands, is not among them."""
    shown: dict[Panel, Callable[[LineView, str], None]] = {
        "add": add,
        "chats": chats,
        "context": context,
        "documents": documents,
        "remove": remove,
        "search": search,
        "sources": sources,
        "stale": stale,
        "thinking": thinking,
        "welcome": welcome_,
    }
    return {panel: partial(show, view) for panel, show in shown.items()}


def add(view: LineView, _argument: str) -> None:
    view.fail("Which file or folder? /add PATH")


def documents(view: LineView, _argument: str) -> None:
    found = _survey(view)
    if found is None:
        return
    known = view.session.documents
    for document in known:
        _, numbers, state = line(document, found)
        view.lines.say(f"{document.path}: {numbers}{', ' if state else ''}{state}")
    if not known:
        view.say("There are no documents yet; /add PATH adds some.")
        return
    view.say(f"{counts(known, found)}.")
    if found:
        view.say("/reread stale reads those again that have changed.")


def remove(view: LineView, argument: str) -> None:
    if argument:
        view.submit(view.session.remove(str(path) for path in parser.paths(argument)))
    else:
        view.fail("Which document or folder? /remove PATH; /documents lists them")


def stale(view: LineView, _argument: str) -> None:
    found = _survey(view)
    changed = [path for path, state in (found or {}).items() if state == "changed"]
    if changed:
        view.add_documents(changed, again=True)
    elif found is not None:
        view.say("No document has changed since it was read.")


def _survey(view: LineView) -> Mapping[str, Staleness] | None:
    """Which documents are stale; None where they cannot be looked at, which has been said."""
    found = [event.stale for event in view.run(view.session.survey()) if isinstance(event, Surveyed)]
    return found[0] if found else None


def sources(view: LineView, argument: str) -> None:
    wanted = [each for each in view.sources if not argument or str(each.number) == argument]
    for source in wanted:
        text = f"{source.before}{source.quote}{source.after}".strip()
        view.lines.say(f"[{source.number}] {place(source)}", text, "")
    if not wanted:
        count = len(view.sources)
        view.say(f"The last answer has {count} sources." if count else "There are no sources yet.")


def chats(view: LineView, _argument: str) -> None:
    try:
        with view.session.history.visit() as store:
            entries = store.chats()
    except EdgeError as error:
        view.fail(str(error))
        return
    for entry in entries:
        many = f"{entry.questions} question{'' if entry.questions == 1 else 's'}"
        view.lines.say(f"{entry.id}: {entry.title}, {entry.updated[:10]}, {many}")
    view.say("/continue and a number goes on with one." if entries else "No chat is kept yet.")


def search(view: LineView, words: str) -> None:
    if not words:
        view.fail("What is to be found? /search WORDS")
        return
    try:
        with view.session.history.visit() as store:
            hits = store.search(words)
    except EdgeError as error:
        view.fail(str(error))
        return
    for hit in hits:
        view.lines.say(f"{hit.chat.id}: {hit.chat.title}, {hit.chat.updated[:10]}")
        if hit.role != "title":
            view.lines.say(f"    {'you' if hit.role == 'user' else 'model'}: {hit.excerpt}")
    if not hits:
        view.say("No chat holds all these words.")


def context(view: LineView, _argument: str) -> None:
    turns = view.session.history.turns
    usage = turns[-1].answer.context_usage if turns else None
    if usage is None:
        view.fail("No model was asked: there is no context to show.")
        return
    view.say(f"Context: {usage.limit:,} tokens.")
    view.table([(part.name, f"{part.tokens:,}") for part in parts(usage)])
    view.say(left_out(usage))


def thinking(view: LineView, _argument: str) -> None:
    turns = view.session.history.turns
    text = turns[-1].answer.thinking if turns else None
    if text:
        view.lines.say(text)
    else:
        view.fail("Nothing was thought before the last answer.")


def welcome_(view: LineView, _argument: str) -> None:
    found = welcome.look_around()
    lines = [*welcome.OFFLINE]
    lines += [f"Model: {model.name}" for model in found.models]
    lines += [f"Model of another program: edge models import {where}" for where in found.elsewhere]
    if not found.models:
        lines.append(f"No model is here yet; run: {welcome.PULL}")
    encoder = found.encoder
    lines.append(f"Text encoder: {encoder}" if encoder else f"No text encoder is here yet; run: {welcome.PULL}")
    lines += [f"Perhaps documents: /add {welcome.shown(folder)}" for folder in found.folders]
    view.lines.say(*lines)
