"""What the proof asks: built-in conversations and texts, and the user's own prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import ConversionError
from edge_converters.parity.candidate import Turn

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that end with the user's. `answer`, where given, is a complete reply, after which a model stops."""

    messages: tuple[Turn, ...]
    answer: str | None = None


def _asked(text: str) -> Conversation:
    return Conversation(({"role": "user", "content": text},))


def _dialogue(*turns: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    return Conversation((*([{"role": "system", "content": system}] if system else []), *messages))


CONVERSATIONS = (
    _asked("What is the capital of France?"),
    _asked("Name three animals that live in the sea."),
    _asked("Write a short poem about the first snow of the year."),
    _asked("Explain to a child why the sky is blue."),
    _asked("What is 17 times 24? Show how you get there."),
    _asked("Write a Python function that returns the sum of the squares of a list of numbers."),
    _asked("Translate into French: The train leaves at seven in the morning."),
    _asked("List the planets of the solar system, one on each line."),
    _asked("Give me a recipe for pancakes with the amounts in grams."),
    _asked("Summarise in one sentence: The bridge was closed in March because two of its cables had rusted through."),
    _asked("¿Cuál es la diferencia entre un río y un lago?"),
    _asked("Wie viele Stunden hat eine Woche?"),
    _asked("水的沸点是多少度？"),
    _asked("Почему листья осенью желтеют?"),
    _asked('Fix this code:\n```c\nint main() { printf("hello\\n") return 0 }\n```'),
    _asked('Turn into JSON: name Ada Lovelace, born 1815, known for "notes on the Analytical Engine".'),
    _asked("What does the abbreviation HTTP stand for?"),
    _asked("Is a tomato a fruit or a vegetable? Answer in two sentences."),
    _asked("SELECT name, COUNT(*) FROM orders GROUP BY name; -- what does this query return?"),
    _asked("Describe the smell of rain on a dry road."),
    _asked("What should I check before I open the valve of a gas boiler?"),
    _dialogue("Who are you and what can you do?", system="You are a patient librarian who answers briefly."),
    _dialogue("My name is Noor.", "Nice to meet you, Noor.", "What is my name, spelled backwards?"),
    _dialogue(
        "Pick a number from 1 to 10.",
        "I pick 7.",
        "Add 5 to it and halve the result.",
        "That gives 6.",
        "Now write it as a Roman numeral.",
        system="You are good at arithmetic and you never apologise.",
    ),
)
"""Questions of many kinds: a model's greedy replies to them are compared token by token."""

ANSWERED = (
    Conversation(({"role": "user", "content": "What is the capital of Italy?"},), "The capital of Italy is Rome."),
    Conversation(({"role": "user", "content": "How many days has a week?"},), "A week has seven days."),
    Conversation(({"role": "user", "content": "Say hello."},), "Hello! How can I help you today?"),
    Conversation(({"role": "user", "content": "What is 2 + 2?"},), "2 + 2 equals 4."),
    Conversation(
        ({"role": "user", "content": "Which planet do we live on?"},),
        "We live on Earth, the third planet from the Sun.",
    ),
)
"""Replies that are complete: what comes next is the end."""


def read_prompts(path: Path) -> list[Conversation]:
    """The user's prompts: one on each line, or JSON lines with "prompt" or "messages". Raises ConversionError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConversionError(f"{path} cannot be read ({error.strerror}); name a text file of prompts") from error
    except UnicodeDecodeError as error:
        raise ConversionError(f"{path} is not UTF-8 text; give one prompt a line, or JSON lines") from error
    read = _from_json if path.suffix in (".jsonl", ".json", ".ndjson") else _from_text
    found = [read(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ConversionError(f"{path} holds no prompts; give one a line, or JSON lines with a prompt or messages")
    return found


def _from_text(path: Path, number: int, line: str) -> Conversation:
    if "\0" in line:
        raise ConversionError(f"line {number} of {path} is no text; give one prompt a line, or JSON lines")
    return _from_json(path, number, line) if line.lstrip().startswith('{"') else _asked(line.strip())


def _from_json(path: Path, number: int, line: str) -> Conversation:
    def refused(reason: str) -> ConversionError:
        return ConversionError(
            f'line {number} of {path} {reason}; a line is {{"prompt": "…"}} or '
            '{"messages": [{"role": …, "content": …}]}'
        )

    try:
        content: Any = json.loads(line)
    except ValueError as error:
        raise refused("is not JSON") from error
    if not isinstance(content, Mapping):
        raise refused("is no JSON object")
    prompt, messages = content.get("prompt"), content.get("messages")
    if isinstance(prompt, str) and prompt.strip():
        return _asked(prompt)
    if not isinstance(messages, list) or not messages:
        raise refused("has neither a prompt nor messages")
    for turn in messages:
        if not isinstance(turn, Mapping) or turn.get("role") not in _ROLES or not isinstance(turn.get("content"), str):
            raise refused("has a message without a known role or a text")
    turns = tuple({"role": turn["role"], "content": turn["content"]} for turn in messages)
    while turns and turns[-1]["role"] == "assistant":
        turns = turns[:-1]
    if not turns:
        raise refused("has no message of the user")
    return Conversation(turns)
