"""Records to the columns of a row and back. JSON of another version may hold keys that are not known here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar

from edge.types import ContextUsage, Dropped, Usage
from edge_tui.history.records import ChatEntry, ChatMessage
from edge_tui.rendering.sources import Source

Record = TypeVar("Record")

MESSAGE = (
    "role, text, created, state, sent, system, model, adapter, shown, sources, found, notes, usage, ledger, mark, "
    "correction, thinking"
)
"""The columns of `columns` and `message`, in their order."""

ENTRY = (
    "id, title, created, updated, model, adapter, documents, system, "
    "(SELECT count(*) FROM messages WHERE chat = chats.id AND role = 'user' AND replaced IS NULL)"
)


def columns(message: ChatMessage) -> tuple[object, ...]:
    return (
        message.role,
        clean(message.text),
        message.created,
        message.state,
        clean(message.sent),
        clean(message.system),
        clean(message.model),
        clean(message.adapter),
        clean(message.shown),
        _json(message.sources),
        message.found,
        _json(message.notes),
        None if message.usage is None else _json(message.usage),
        None if message.context_usage is None else _json(message.context_usage),
        message.mark,
        clean(message.correction),
        clean(message.thinking),
    )


def message(number: int, row: tuple[Any, ...]) -> ChatMessage:
    role, text, created, state, sent, system, model, adapter, shown, sources, found, notes, usage, spent, *rest = row
    mark, correction, thinking = rest
    return ChatMessage(
        role=role,
        text=text,
        created=created,
        state=state,
        sent=sent,
        system=system,
        model=model,
        adapter=adapter,
        shown=shown,
        sources=tuple(_record(Source, each) for each in json.loads(sources)),
        found=found,
        notes=tuple(json.loads(notes)),
        usage=None if usage is None else _record(Usage, json.loads(usage)),
        context_usage=None if spent is None else _context_usage(json.loads(spent)),
        mark=mark,
        correction=correction,
        thinking=thinking,
        id=number,
    )


def entry(row: tuple[Any, ...]) -> ChatEntry:
    return ChatEntry(*row)


def clean(text: str | None) -> str | None:
    """Half a surrogate pair, which a terminal can paste, is no character of UTF-8."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _context_usage(value: Mapping[str, Any]) -> ContextUsage:
    dropped = tuple(_record(Dropped, each) for each in value.get("dropped", ()))
    return _record(ContextUsage, {**value, "dropped": dropped})


def _record(kind: type[Record], value: Mapping[str, Any]) -> Record:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: each for key, each in value.items() if key in known})


def _json(value: object) -> str:
    return json.dumps(_plain(value))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
