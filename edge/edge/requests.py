"""What a model is asked: prompts and sampling as programs write them, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from edge import arguments
from edge.types import Message, RagOptions, Role, Sampling

Prompt = str | Sequence[Message | Mapping[str, str]]


def checked_sampling(sampling: Sampling | None) -> Sampling:
    """The default for None. Raises UsageError for anything else, a dict for instance."""
    if sampling is None:
        return Sampling()
    if not isinstance(sampling, Sampling):
        arguments.refuse("sampling", sampling, "an edge.Sampling, as in sampling=edge.Sampling(temperature=0.7)")
    return sampling


def checked_rag(rag: RagOptions | None) -> RagOptions:
    if rag is None:
        return RagOptions()
    if not isinstance(rag, RagOptions):
        arguments.refuse("rag", rag, "an edge.RagOptions, as in rag=edge.RagOptions(k=3)")
    return rag


def checked_prompt(prompt: Prompt) -> str | list[Message]:
    return prompt if isinstance(prompt, str) else checked_messages("prompt", prompt)


def checked_messages(name: str, messages: Iterable[Message | Mapping[str, Any]]) -> list[Message]:
    """The messages as records. OpenAI's content in parts is accepted where all of them are text."""
    needed = "a list of messages such as {'role': 'user', 'content': 'Hello'}"
    if isinstance(messages, (str, bytes, Mapping, Message)) or not isinstance(messages, Iterable):
        arguments.refuse(name, messages, needed)
    found = [_message(message) for message in messages]
    if not found:
        arguments.refuse(name, [], needed)
    return found


def _message(message: Message | Mapping[str, Any]) -> Message:
    if isinstance(message, Message):
        arguments.choice("the role of a message", message.role, get_args(Role))
        return replace(message, content=_content(message.content))
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        arguments.refuse("a message", message, "an edge.Message, or a dict with role and content")
    arguments.choice("the role of a message", message["role"], get_args(Role))
    return Message(message["role"], _content(message["content"]))


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else [content]
    found = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    texts = [text for text in found if isinstance(text, str)]
    if not texts or len(texts) != len(parts):
        arguments.refuse("the content of a message", content, "a str, or a list of parts {'type': 'text', 'text': …}")
    return "\n".join(texts)
