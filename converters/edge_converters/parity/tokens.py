"""Does the export split text and render conversations as the base's own tokenizer does?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge.errors import ConversionError, ModelError
from edge_converters.parity.candidate import Candidate, Turn
from edge_converters.parity.prompts import CONVERSATIONS, Conversation
from edge_converters.parity.texts import AWKWARD, RARE, TEXTS
from edge_converters.types import Check

_FALLBACK = "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"


class Original:
    """The base's tokenizer as transformers reads it."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ConversionError(
                f"transformers cannot read the tokenizer of {folder}: {error}; fetch the model's tokenizer files"
            ) from error
        self.has_template = bool(self._tokenizer.chat_template)
        self.bos: int | None = self._tokenizer.bos_token_id
        self.eos: int | None = self._tokenizer.eos_token_id

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def tokens_of_text(self, text: str) -> list[int]:
        """With what the tokenizer itself puts in front of a text."""
        ids: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        return ids

    def is_ordinary(self, word: str) -> bool:
        """Whether a token is called so that is neither special nor added."""
        token = self._tokenizer.get_vocab().get(word)
        return token is not None and token not in self._tokenizer.added_tokens_decoder

    def text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))

    def render(self, messages: Sequence[Turn]) -> str:
        """The prompt by the chat template, or plainly line by line where the base has none.

        Raises ModelError when the template refuses the messages.
        """
        from jinja2 import TemplateError

        template = None if self.has_template else _FALLBACK
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(turn) for turn in messages], chat_template=template, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise ModelError(f"the base's chat template refuses a conversation: {error}") from error
        return str(text)

    def renderings(self, messages: Sequence[Turn]) -> list[str]:
        """What is right: the template's own, and where it refuses or drops the system text, the same with that
        text in front of the first user message, as our engines do it.
        """
        systems = [turn["content"] for turn in messages if turn["role"] == "system"]
        found = []
        try:
            found.append(self.render(messages))
        except ModelError:
            if not systems:
                raise
        if systems and not all(system in text for system in systems for text in found or [""]):
            found.append(self.render(_folded(messages)))
        return found


def _folded(messages: Sequence[Turn]) -> list[Turn]:
    system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
    rest = [turn for turn in messages if turn["role"] != "system"]
    first = next(i for i, turn in enumerate(rest) if turn["role"] == "user")
    return [*rest[:first], {"role": "user", "content": f"{system}\n\n{rest[first]['content']}"}, *rest[first + 1 :]]


def check_tokens(original: Original, candidate: Candidate, prompts: Sequence[str]) -> tuple[Check, list[str]]:
    """Token ids of many strings, and notes on what no export can change. `prompts` are rendered ones, in which control
    tokens stand."""
    texts = [*AWKWARD, *TEXTS, *prompts]
    differing, first, mistaken = 0, "", set[str]()
    for text in texts:
        right, found = original.tokens(text), candidate.tokens(text)
        if found in (right, [original.bos, *right]):
            continue
        by_text = {word for word in candidate.special_by_text if word in text and original.is_ordinary(word)}
        if by_text:
            mistaken |= by_text
            continue
        differing += 1
        first = first or _first_difference(text, right, found, original.text)
    fine = len(texts) - differing
    meaning = f"{fine} of {len(texts)} texts have the token ids of the base's tokenizer{first}"
    return Check("token ids", not differing, differing, 0, meaning), [
        f"the engine takes {word}, an ordinary word to the base, for a special token wherever it stands in a text"
        for word in sorted(mistaken)
    ]


def rare_note(original: Original, candidate: Candidate) -> list[str]:
    """What the engine's tokenizer does otherwise in rare scripts and signs, which no export can change."""
    differing = [
        text
        for text in RARE
        if candidate.tokens(text) not in (original.tokens(text), [original.bos, *original.tokens(text)])
    ]
    if not differing:
        return []
    return [f"the engine's tokenizer splits some rare characters in its own way: {', '.join(map(repr, differing))}"]


def _first_difference(text: str, right: list[int], found: list[int], decode: Callable[[Sequence[int]], str]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(right, found, strict=False)) if a != b), min(len(right), len(found)))
    return (
        f"; first in {text[:40]!r}: after {decode(right[:at])[-20:]!r} the base has {right[at : at + 4]} "
        f"and the export {found[at : at + 4]}"
    )


def check_template(
    original: Original, candidate: Candidate, conversations: Sequence[Conversation] = CONVERSATIONS
) -> Check:
    """Rendered conversations, with several turns and with a system text among them."""
    if not original.has_template:
        return Check("chat template", None, None, None, "the base has no chat template")
    asked, differing, first = 0, 0, ""
    for conversation in conversations:
        try:
            right = original.renderings(conversation.messages)
        except ModelError:
            continue
        asked += 1
        try:
            found = candidate.render(conversation.messages)
        except ModelError as error:
            found = f"({error})"
        if found not in right:
            differing += 1
            first = (
                first or f"; first: the base gives {_around(right[0], found)}, the export {_around(found, right[0])}"
            )
    return Check(
        "chat template",
        not differing,
        differing,
        0,
        f"{asked - differing} of {asked} conversations are rendered as the base's template does{first}",
    )


def _around(text: str, other: str) -> str:
    """The part of `text` where it begins to differ from `other`."""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return repr(text[max(0, at - 10) : at + 30])
