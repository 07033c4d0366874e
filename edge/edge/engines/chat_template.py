"""A model's own chat template, rendered in a sandbox: templates come with downloaded weights and are code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edge.engines import thinking
from edge.errors import ModelError
from edge.types import Message

if TYPE_CHECKING:
    from jinja2 import Template

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class ChatTemplate:
    """`source` is Jinja as Hugging Face writes it; `specials` are the texts of the model's control tokens.

    A message whose content spells a control token cannot end its turn with it: the token's text is broken
    up by a zero-width space, so that a document may say `<|im_end|>` and stay a document.
    """

    source: str
    bos: str
    eos: str
    specials: tuple[str, ...] = ()

    @cached_property
    def _template(self) -> Template:
        from edge.engines.template_sandbox import Stopped, compile_template

        try:
            return compile_template(self.source)
        except Stopped as error:
            raise ModelError(_stopped(error)) from error
        except Exception as error:  # a template is code, and jinja2 hands on what Python's compiler thinks of it
            raise ModelError(f"the model's chat template cannot be read: {_reason(error)}") from error

    @cached_property
    def _special_pattern(self) -> re.Pattern[str] | None:
        longest_first = sorted((s for s in self.specials if len(s) > 1), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def render(self, messages: Sequence[Message], *, reply: bool = True, think: bool | None = False) -> str:
        """The prompt up to where the assistant begins to speak; with `reply` False, up to the end of the last turn.

        `think` is told to the template in the ways that templates know; None leaves it to its default.

        Some templates drop the system role (early Phi-3) or refuse it (Gemma, Mistral): then the system text
        goes in front of the first user message. Raises ModelError when the template refuses the messages.
        """
        clean = [Message(message.role, self._defuse(message.content)) for message in messages]
        systems = [message.content for message in clean if message.role == "system"]
        if think is False and self._switch:
            clean = _with_system(clean, self._switch)
        if think and systems and self._thinks_without_system:
            clean = _fold_system(clean)
        try:
            text = self._fill(clean, reply, think)
            if all(system.strip() in text for system in systems):
                return text
        except _Refusal:
            if not systems:
                raise
        return self._fill(_fold_system(clean), reply, think)

    @property
    def keeps_system(self) -> bool:
        """Whether a system message stays one; else `render` puts its text before the first question."""
        system = "Answer in one sentence."
        try:
            return system in self._fill([Message("system", system), Message("user", "Why?")])
        except _Refusal:
            return False

    @cached_property
    def _switch(self) -> str | None:
        """What the system text has to say so that the model does not think, where no value tells the template."""
        word = thinking.switch_in(self.source)
        question = [Message("user", "Why?")]
        try:
            obeys = word is not None and self._fill(question, think=False) != self._fill(question, think=True)
        except _Refusal:
            return None
        return None if obeys else word

    @cached_property
    def _thinks_without_system(self) -> bool:
        """Whether the template tells the model to think in a system text of its own, which any other takes the place
        of (Granite)."""
        question = [Message("user", "Why?")]
        with_system = [Message("system", "Be brief."), *question]
        try:
            silenced = self._fill(with_system, think=True) == self._fill(with_system, think=False)
            return silenced and self._fill(question, think=True) != self._fill(question, think=False)
        except _Refusal:
            return False

    def _fill(self, messages: Sequence[Message], reply: bool = True, think: bool | None = False) -> str:
        from edge.engines.template_sandbox import Stopped, render

        turns: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
        values = {"messages": turns, "add_generation_prompt": reply, "bos_token": self.bos, "eos_token": self.eos}
        values |= thinking.values(self.source, think)
        template = self._template
        try:
            return render(template, values)
        except Stopped as error:
            raise ModelError(_stopped(error)) from error
        except Exception as error:  # a template is code: its mistakes raise whatever Python has for them
            if think is not None:  # it may be what it was told of thinking that it refuses
                return self._fill(messages, reply, think=None)
            raise _Refusal(f"the model's chat template refuses these messages: {_reason(error)}") from error

    def _defuse(self, content: str) -> str:
        if self._special_pattern is None:
            return content
        return self._special_pattern.sub(lambda match: f"{match[0][0]}\u200b{match[0][1:]}", content)


def _with_system(messages: Sequence[Message], word: str) -> list[Message]:
    """`word` at the end of the system text."""
    if messages and messages[0].role == "system":
        return [Message("system", f"{messages[0].content}\n{word}"), *messages[1:]]
    return [Message("system", word), *messages]


def _fold_system(messages: Sequence[Message]) -> list[Message]:
    """Move the system text in front of the first user message."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    rest = [message for message in messages if message.role != "system"]
    for i, message in enumerate(rest):
        if message.role == "user":
            rest[i] = Message("user", f"{system}\n\n{message.content}")
            return rest
    return [Message("user", system), *rest]


class _Refusal(ModelError):
    """The template does not want these messages; it may take others."""


def _stopped(error: Exception) -> str:
    return f"the model's chat template was stopped: {error}; it is broken or hostile, so take this model from elsewhere"


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0][:300] or type(error).__name__
