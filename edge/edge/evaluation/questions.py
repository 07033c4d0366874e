"""Question files: JSON lines of a question with what is known of its answer, or of chats."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from edge.errors import StorageError, UsageError
from edge.evaluation.records import Question
from edge.types import Message, Role

_SHAPE = '{"question": "…", "answers": ["…"]} or {"messages": […]}'


def read_questions(file: Path) -> list[Question]:
    """The questions of a JSON Lines file, in order.

    A line has `question` and any of `answers` (texts, or objects with `text`, `start` and `end`; none: the documents
    do not tell), `document`, `passage` or `paragraph` (an object with `start` and `end`, perhaps `document`),
    `passages` (texts), `reference` and `form`. A line with `messages` is a chat: its last user turn is the question,
    what the assistant said to it the reference.
    Raises StorageError for a file that cannot be read, UsageError, with the number of the line, for a bad one.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}; name a JSON Lines file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_question(json.loads(line)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise UsageError(f"{file}, line {number}: {reason}; a line is {_SHAPE}") from error
    if not found:
        raise UsageError(f"{file} holds no question; a line is {_SHAPE}")
    return found


def _question(row: Any) -> Question:
    if not isinstance(row, dict):
        raise ValueError("it is no JSON object")
    if "messages" in row:
        return _chat(row)
    question = _text(row["question"], "question")
    if not question.strip():
        raise ValueError("the question is empty")
    answers, spans = _answers(row.get("answers"))
    place = row.get("passage") or row.get("paragraph")
    passages = tuple(_text(text, "passages") for text in row.get("passages") or ())
    if isinstance(place, str):
        passages, place = (place, *passages), None
    document = row.get("document") or (place or {}).get("document")
    return Question(
        question=question.strip(),
        answers=answers,
        document=None if document is None else _text(document, "document"),
        spans=spans,
        passage=None if place is None else _span(place),
        passages=passages,
        reference=None if row.get("reference") is None else _text(row["reference"], "reference"),
        form=_form(row.get("form")),
    )


def _answers(found: Any) -> tuple[tuple[str, ...] | None, tuple[tuple[int, int], ...]]:
    """The texts, and the places of those that have one."""
    if found is None:
        return None, ()
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, list):
        raise ValueError("`answers` is no list")
    texts, spans = [], []
    for answer in found:
        if isinstance(answer, dict):
            if "start" in answer:
                spans.append(_span(answer))
            answer = answer["text"]
        texts.append(_text(answer, "answers"))
    if not all(text.strip() for text in texts):
        raise ValueError("an answer is empty; a question that the documents do not answer has `answers` []")
    return tuple(texts), tuple(spans)


def _chat(row: Mapping[str, Any]) -> Question:
    turns = []
    for turn in row["messages"]:
        role = turn["role"]
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"a turn has the role {role!r}; known: system, user, assistant")
        turns.append(Message(cast(Role, role), _text(turn["content"], "content")))
    asked = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if asked < 0 or not turns[asked].content.strip():
        raise ValueError("the chat has no user turn with a question")
    reply = next((turn.content for turn in turns[asked + 1 :] if turn.role == "assistant"), None)
    answers, spans = _answers(row.get("answers"))
    return Question(
        question=turns[asked].content.strip(),
        answers=answers,
        spans=spans,
        document=row.get("document"),
        reference=reply,
        form=_form(row.get("form")),
        before=tuple(turns[:asked]),
    )


def _form(found: Any) -> str | dict[str, Any] | None:
    if found is None:
        return None
    if isinstance(found, str):
        try:
            re.compile(found)
        except re.error as error:
            raise ValueError(f"`form` is no regular expression ({error})") from error
        return found
    if isinstance(found, dict):
        from edge.structured import schema_of

        try:
            schema: dict[str, Any] = json.loads(schema_of(found))
        except UsageError as error:
            raise ValueError(f"`form`: {error}") from error
        return schema
    raise ValueError("`form` is neither a regular expression nor a JSON schema")


def _span(found: Any) -> tuple[int, int]:
    start, end = found["start"], found["end"]
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end):
        raise ValueError(f"{start}-{end} is no span of characters")
    return start, end


def _text(found: Any, name: str) -> str:
    if not isinstance(found, str):
        raise ValueError(f"`{name}` is {type(found).__name__} and not a text")
    return found
