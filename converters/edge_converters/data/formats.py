"""The formats of training examples: how each is told from the others, and a record of it -> turns.

chat: OpenAI's and Azure's `messages` (platform.openai.com/docs/guides/fine-tuning). prompt-completion: the older OpenAI
format, and TRL's with lists of messages. conversations: ShareGPT's `from` and `value`. alpaca: Stanford Alpaca's
`instruction`, `input`, `output`, with LLaMA-Factory's `system` and `history`. text: AutoTrain's column. pairs: two
columns whose names say what they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from edge.types import Message, Role
from edge_converters.data.files import not_unicode

PAIRS = (
    ("prompt", "completion"), ("question", "answer"), ("prompt", "response"), ("query", "response"),
    ("user", "assistant"), ("instruction", "response"), ("input", "output"), ("input", "target"), ("source", "target"),
)  # fmt: skip
_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant",
}  # fmt: skip
_TOOLS = ("tools", "functions", "tool_calls", "function_call", "tool_call_id")
_NO_TOOLS = "uses tools, which edge's chat does not have; leave such examples out"


class RecordRejected(ValueError):
    """A record that gives no example; the message continues a sentence that begins with its place."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The turns of a record, or a text without turns; `unweighted` when it has turns that were not to be learnt."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    unweighted: bool = False


def detect(record: Any) -> str | None:
    """The format of a record; None when it is none of ours."""
    if not isinstance(record, Mapping):
        return None
    keys = set(record)
    if "messages" in keys:
        return "chat"
    if "conversations" in keys or "conversation" in keys:
        return "conversations"
    if {"prompt", "completion"} <= keys:
        return "prompt-completion"
    if {"instruction", "output"} <= keys:
        return "alpaca"
    if _pair(keys) is not None:
        return "pairs"
    return "text" if "text" in keys else None


def parse(record: Any, form: str) -> Parsed:
    """The example that a record of that format holds. Raises Refused."""
    if not isinstance(record, Mapping):
        raise RecordRejected("holds no JSON object; an example is {…}")
    if {"preferred_output", "chosen"} & set(record):
        raise RecordRejected(
            "compares answers (preference tuning), which edge does not do; keep the better answer only"
        )
    if any(record.get(key) for key in _TOOLS):
        raise RecordRejected(_NO_TOOLS)
    found = FORMATS[form](record)
    for text in (found.text or "", *(message.content for message in found.messages)):
        foreign = not_unicode(text)
        if foreign:
            raise RecordRejected(foreign)
    return found


def _chat(record: Mapping[str, Any]) -> Parsed:
    turns = _nested(_need(record, "messages"))
    messages, unweighted = _messages(turns, "messages")
    return Parsed(messages, unweighted=unweighted)


def _conversations(record: Mapping[str, Any]) -> Parsed:
    name = "conversations" if "conversations" in record else "conversation"
    messages, unweighted = _messages(_nested(_need(record, name)), name)
    return Parsed((*_system(record), *messages), unweighted=unweighted)


def _prompt_completion(record: Mapping[str, Any]) -> Parsed:
    prompt, completion = _need(record, "prompt"), _need(record, "completion")
    if isinstance(prompt, list) or isinstance(completion, list):  # TRL writes both as lists of messages
        both = [(prompt, "user", "prompt"), (completion, "assistant", "completion")]
        sides = [
            _messages(side, name)[0] if isinstance(side, list) else (Message(cast(Role, role), _text(side, name)),)
            for side, role, name in both
        ]
        return Parsed((*sides[0], *sides[1]))
    # The first completions models wanted a space in front of every completion; chat templates bring their own.
    return _turns(_system(record), _text(prompt, "prompt").strip(), _text(completion, "completion").strip())


def _alpaca(record: Mapping[str, Any]) -> Parsed:
    instruction = _text(_need(record, "instruction"), "instruction")
    more = _text(record.get("input") or "", "input")
    earlier: list[Message] = []
    for pair in record.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RecordRejected("has a `history` that is no list of [question, answer]")
        earlier += [Message("user", _text(pair[0], "history")), Message("assistant", _text(pair[1], "history"))]
    question = f"{instruction}\n\n{more}" if more.strip() else instruction
    return _turns((*_system(record), *earlier), question, _text(_need(record, "output"), "output"))


def _pairs(record: Mapping[str, Any]) -> Parsed:
    pair = _pair(record)
    if pair is None:
        raise RecordRejected(f"has no two keys that say question and answer, but {_keys(record)}")
    question, answer = pair
    return _turns(_system(record), _text(record[question], question), _text(record[answer], answer))


def _plain(record: Mapping[str, Any]) -> Parsed:
    value = _need(record, "text")
    turns = _nested(value)
    if isinstance(turns, list):
        messages, unweighted = _messages(turns, "text")
        return Parsed(messages, unweighted=unweighted)
    return Parsed(text=_text(value, "text"))


FORMATS: dict[str, Callable[[Mapping[str, Any]], Parsed]] = {
    "chat": _chat,
    "prompt-completion": _prompt_completion,
    "conversations": _conversations,
    "alpaca": _alpaca,
    "pairs": _pairs,
    "text": _plain,
}


def _pair(keys: Collection[str]) -> tuple[str, str] | None:
    return next((pair for pair in PAIRS if pair[0] in keys and pair[1] in keys), None)


def _turns(before: tuple[Message, ...], question: str, answer: str) -> Parsed:
    return Parsed((*before, Message("user", question), Message("assistant", answer)))


def _system(record: Mapping[str, Any]) -> tuple[Message, ...]:
    system = record.get("system")
    return (Message("system", system),) if isinstance(system, str) and system.strip() else ()


def _nested(value: Any) -> Any:
    """A table's cell may hold a conversation as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _messages(turns: Any, key: str) -> tuple[tuple[Message, ...], bool]:
    if not isinstance(turns, list):
        raise RecordRejected(f"has a `{key}` that is no list of turns")
    messages, unweighted = [], False
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping):
            raise RecordRejected(f"has a turn {number} that is no object with a role and a content")
        if any(turn.get(name) for name in _TOOLS):
            raise RecordRejected(_NO_TOOLS)
        unweighted = unweighted or turn.get("weight", 1) == 0
        messages.append(_message(turn, number))
    return tuple(messages), unweighted


def _message(turn: Mapping[str, Any], number: int) -> Message:
    said = turn.get("role", turn.get("from"))
    role = _ROLES.get(said.lower()) if isinstance(said, str) else None
    if said in ("tool", "function", "ipython", "observation", "function_call"):
        raise RecordRejected(_NO_TOOLS)
    if role is None:
        raise RecordRejected(f"has the role {said!r} in turn {number}; the roles are system, user and assistant")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = "".join(_parts(content, number))
    return Message(cast(Role, role), _text("" if content is None else content, f"turn {number}"))


def _parts(parts: list[Any], number: int) -> Iterator[str]:
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind != "text":
            raise RecordRejected(f"has a part of type {kind!r} in turn {number}; only text can be learnt here")
        yield _text(part.get("text"), f"turn {number}")


def _need(record: Mapping[str, Any], key: str) -> Any:
    if key not in record:
        raise RecordRejected(f"has no `{key}` as the examples before it, but {_keys(record)}")
    return record[key]


def _keys(record: Mapping[str, Any]) -> str:
    names = [f"`{str(key)[:40]}`" for key in list(record)[:6]]
    return ", ".join(names) if names else "nothing"


def _text(value: Any, where: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # a table's answer "42" is a number after some tools
    if not isinstance(value, str):
        raise RecordRejected(f"has no text in {where} but {type(value).__name__}; write it as a text in quotes")
    return value
