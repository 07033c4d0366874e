"""The examples of a tuning run: conversations from files, and which of them are held out."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from edge.errors import TuningError
from edge.types import Message, Role

_CHECK = "correct it, or let `edge data check` list everything that is wrong with the file"


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation with at least one reply, and where it stands: `line` counts from 1."""

    messages: tuple[Message, ...]
    source: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.source}:{self.line}"


def conversations(paths: Sequence[Path]) -> list[Example]:
    """The examples of JSON-lines files with `messages` (as OpenAI has them) or `prompt` and `completion`.

    Raises TuningError with file and line for what is no such thing.
    """
    return [example for path in paths for example in _read(Path(path))]


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Those to learn from and those held out, at least one where `share` is not 0.

    Examples that begin with the same messages are kept together: else what is held out would have been learnt.
    """
    if share <= 0:
        return list(examples), []
    groups: dict[bytes, list[Example]] = {}
    for example in examples:
        groups.setdefault(_key(example), []).append(example)
    shuffled = [groups[key] for key in sorted(groups)]
    random.Random(seed).shuffle(shuffled)
    wanted = max(1, round(share * len(examples)))
    held_out: set[int] = set()
    for group in shuffled[:-1]:
        if len(held_out) >= wanted:
            break
        held_out.update(map(id, group))
    return (
        [example for example in examples if id(example) not in held_out],
        [example for example in examples if id(example) in held_out],
    )


def data_sha256(examples: Sequence[Example]) -> str:
    """SHA-256 of what the examples say, wherever they stand."""
    digest = hashlib.sha256()
    for example in examples:
        turns = [[message.role, message.content] for message in example.messages]
        digest.update(json.dumps(turns, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _key(example: Example) -> bytes:
    first = next(i for i, message in enumerate(example.messages) if message.role == "assistant")
    asked = json.dumps([message.content for message in example.messages[:first]])
    return hashlib.sha256(asked.encode("utf-8")).digest()


def _read(path: Path) -> Iterator[Example]:
    try:
        with path.open("rb") as file:
            for line, raw in enumerate(file, 1):
                if raw.strip():
                    yield Example(_messages(raw, f"{path}:{line}"), str(path), line)
    except OSError as error:
        raise TuningError(f"{path} cannot be read: {error.strerror}; give a JSONL file of examples") from error


def _messages(raw: bytes, where: str) -> tuple[Message, ...]:
    try:
        row: Any = json.loads(raw.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TuningError(f"{where} is no JSON ({error}); {_CHECK}") from error
    turns: Any = row.get("messages") if isinstance(row, dict) else None
    if turns is None and isinstance(row, dict) and "prompt" in row and "completion" in row:
        turns = _turns(row["prompt"], "user") + _turns(row["completion"], "assistant")
    if not isinstance(turns, list) or not turns:
        raise TuningError(f"{where} has neither `messages` nor `prompt` and `completion`; {_CHECK}")
    return _checked([_message(turn, where) for turn in turns], where)


def _turns(text: Any, role: str) -> list[Any]:
    return text if isinstance(text, list) else [{"role": role, "content": text}]


def _message(turn: Any, where: str) -> Message:
    role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
    if role not in get_args(Role) or not isinstance(content, str):
        known = ", ".join(get_args(Role))
        raise TuningError(f"{where}: a message needs a role ({known}) and its content as text; {_CHECK}")
    return Message(cast(Role, role), content)


def _checked(messages: list[Message], where: str) -> tuple[Message, ...]:
    while messages and messages[-1].role != "assistant":
        messages.pop()  # what nobody answered teaches nothing
    if not messages:
        raise TuningError(f"{where} has no turn of the assistant, so there is nothing to learn from it; {_CHECK}")
    if any(message.role == "assistant" and not message.content.strip() for message in messages):
        raise TuningError(f"{where} has an empty turn of the assistant; {_CHECK}")
    return tuple(messages)
