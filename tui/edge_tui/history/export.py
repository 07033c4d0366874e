"""Chats as files for people and programs: Markdown, JSON, and training examples as chat JSONL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.errors import StorageError
from edge_tui.history.records import ChatEntry, ChatMessage, Turn
from edge_tui.terminal import printable

Chat = tuple[ChatEntry, Sequence[Turn]]

_STATES = {
    "partial": "This answer was cut off.",
    "cancelled": "This answer was stopped.",
    "failed": "This answer failed.",
}
_MARK = re.compile(r"\[\\\[(\d+)\\\]\]\(#source-\d+\)")
_NO_NAME = re.compile(r"[^\w-]+")


def as_markdown(entry: ChatEntry, turns: Sequence[Turn]) -> str:
    """A chat to read: questions as headings, below each answer its sources by number."""
    who = entry.model + (f" + {entry.adapter}" if entry.adapter else "")
    about = f"{entry.created[:10]}, {who}" if who else entry.created[:10]
    lines = [f"# {_line(entry.title)}", "", f"*{_line(about)}*", ""]
    for turn in turns:
        lines += [f"## {_line(turn.question.text)}", ""]
        if "\n" in turn.question.text.strip():  # a heading is one line
            lines += [*(f"> {line}" for line in printable(turn.question.text).splitlines()), ""]
        lines += _answer(turn.answer)
    return "\n".join(lines).rstrip() + "\n"


def as_json(chats: Iterable[Chat]) -> str:
    """A JSON array of chats, each with its messages; the keys are the fields of ChatEntry and ChatMessage."""
    return json.dumps([as_object(*chat) for chat in chats], ensure_ascii=False, indent=2) + "\n"


def as_object(entry: ChatEntry, turns: Sequence[Turn]) -> dict[str, Any]:
    """One chat as what JSON knows."""
    messages = [asdict(message) for turn in turns for message in (turn.question, turn.answer)]
    return asdict(entry) | {"messages": messages}


def training(chats: Iterable[Chat], *, bare: bool = False) -> Iterator[str]:
    """Lines of chat JSONL, `{"messages": [...]}`, of what was marked good or corrected.

    Approved answers that follow one another are one conversation, so that a question which leans on the one before is
    understood. The system text and the questions are what the model was sent, passages included; with `bare` the
    questions stand alone and without a system text.
    """
    for _, turns in chats:
        run: list[dict[str, str]] = []
        for turn in turns:
            approved = turn.approved
            if approved is None:
                if run:
                    yield _example(run)
                run = []
                continue
            question = turn.question
            if not run and question.system and not bare:
                run.append({"role": "system", "content": question.system})
            asked = question.text if bare or question.sent is None else question.sent
            run += [{"role": "user", "content": asked}, {"role": "assistant", "content": approved}]
        if run:
            yield _example(run)


def free_name(folder: Path, title: str) -> Path:
    """A file of a chat's name that is not there yet."""
    stem = _NO_NAME.sub("-", title.lower()).strip("-")[:60] or "chat"
    path, count = folder / f"{stem}.md", 2
    while path.exists():
        path, count = folder / f"{stem}-{count}.md", count + 1
    return path


def write(path: Path, text: str) -> None:
    """Raises StorageError."""
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise StorageError(f"cannot write {path} ({error.strerror or error}); give another file") from error


def _example(messages: list[dict[str, str]]) -> str:
    return json.dumps({"messages": messages}, ensure_ascii=False)


def _answer(answer: ChatMessage) -> list[str]:
    shown = answer.shown if answer.shown is not None else answer.text
    lines = _thought(answer)
    lines += [_MARK.sub(r"[\1]", printable(shown)), ""] if shown.strip() else []
    for source in answer.sources:
        quote = " ".join(source.quote.split())
        lines += [f"- [{source.number}] {quote} — {printable(source.document)}, {source.place}"]
    if answer.sources:
        lines.append("")
    for note in (_STATES.get(answer.state, ""), *answer.notes):
        if note and note != "Stopped":
            lines += [f"*{_line(note)}*", ""]
    if answer.mark:
        lines += [f"*Marked {answer.mark}.*", ""]
    if answer.correction is not None:
        lines += ["**It should have been:**", "", printable(answer.correction), ""]
    return lines


def _thought(answer: ChatMessage) -> list[str]:
    """What was thought, folded, for those who want to know."""
    if not answer.thinking:
        return []
    quoted = [f"> {line}".rstrip() for line in printable(answer.thinking).splitlines()]
    return ["<details><summary>Thought</summary>", "", *quoted, "", "</details>", ""]


def _line(text: str) -> str:
    return " ".join(printable(text).split())
