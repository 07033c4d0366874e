"""Conversations as tokens: which of them a model learns from, and how they are packed into rows without padding."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ModelError, TuningError
from edge.types import Message
from edge_converters.data.records import Example

if TYPE_CHECKING:
    from edge.engines.chat_template import ChatTemplate

IGNORED = -100
"""The label of a token that nothing is learnt from."""

# What ends a turn in models whose settings name only the token that ends a text.
_ENDS = ("<|im_end|>", "<|end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "</s>", "<|return|>")


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as tokens; `labels` are the same tokens where the assistant speaks, IGNORED elsewhere."""

    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    where: str

    @property
    def learnt(self) -> int:
        """How many tokens are learnt from."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True)
class Row:
    """Examples one behind the other, which attend each to itself only; `lengths` are theirs."""

    tokens: list[int]
    labels: list[int]
    lengths: list[int]


class Encoder:
    """The base's tokenizer and chat template. Raises TuningError where the base has none, or cannot be read."""

    def __init__(self, base: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).split("\n")[0]
            raise TuningError(
                f"transformers cannot read the tokenizer of {base}: {reason}; fetch the model's tokenizer files"
            ) from error
        self.template = self._own_template(base)
        self._ends = self._end_tokens(base)
        begin = self.tokenizer("", add_special_tokens=True)["input_ids"][:1]
        self._begin: list[int] = begin if begin == [self.tokenizer.bos_token_id] else []

    def encode(self, example: Example) -> Encoded:
        """Raises TuningError when the template refuses the conversation or the assistant is not found in it."""
        try:
            text, spans = self.spans(example.messages)
        except ModelError as error:
            raise TuningError(f"{example.place}: {error}; correct the example") from error
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        tokens: list[int] = found["input_ids"]
        starts = [start for start, _ in found["offset_mapping"]]
        labels = [IGNORED] * len(tokens)
        for start, end in spans:
            for at in range(bisect_left(starts, start), bisect_left(starts, end)):
                labels[at] = tokens[at]
                if tokens[at] in self._ends:
                    break
        if not any(label != IGNORED for label in labels):
            raise TuningError(f"{example.place}: the chat template leaves out what the assistant says")
        if self._begin and not text.startswith(str(self.tokenizer.bos_token)):
            tokens, labels = self._begin + tokens, [IGNORED, *labels]
        return Encoded(tuple(tokens), tuple(labels), example.place)

    def spans(self, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as text, and from where to where the assistant speaks, what ends its turn included.

        A turn begins where the prompt of everything before it ends, and ends where the conversation goes on as it
        would not if it stopped there. Templates that write earlier turns anew (without their thoughts) are followed
        as far as both agree.
        """
        text = self.template.render(messages, reply=False)
        spans = []
        for at, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start = _agreement(self.template.render(messages[:at]), text)
            end = _agreement(self.template.render(messages[: at + 1], reply=False), text)
            if _bare(message.content) in _bare(text[start:end]):  # else the template left this turn out
                spans.append((start, len(text[:end].rstrip())))
        return text, spans

    def _own_template(self, base: Path) -> ChatTemplate:
        from edge.engines.chat_template import ChatTemplate

        source = self.tokenizer.chat_template
        if isinstance(source, dict):
            source = source.get("default")
        if not source:
            raise TuningError(
                f"{base} has no chat template, so nobody knows how a conversation is written for it; take an "
                "instruction-tuned model (…-Instruct, …-it), or put its chat_template.jinja into the folder"
            )
        specials = tuple(str(token) for token in self.tokenizer.added_tokens_decoder.values())
        return ChatTemplate(source, self.tokenizer.bos_token or "", self.tokenizer.eos_token or "", specials)

    def _end_tokens(self, base: Path) -> frozenset[int]:
        from edge_converters.weights.checkpoint import read_json

        added = {str(token): number for number, token in self.tokenizer.added_tokens_decoder.items()}
        found = {self.tokenizer.eos_token_id, *(added.get(text) for text in _ENDS)}
        for name in ("generation_config.json", "config.json"):
            if (base / name).is_file():
                ends = read_json(base / name).get("eos_token_id")
                found.update(ends if isinstance(ends, list) else [ends])
        return frozenset(int(token) for token in found if token is not None)


def encode_all(
    encoder: Encoder, examples: Sequence[Example], advance: Callable[[int, int], None] | None = None
) -> list[Encoded]:
    """Every example as tokens."""
    encoded = []
    for done, example in enumerate(examples, 1):
        encoded.append(encoder.encode(example))
        if advance is not None and (done % 100 == 0 or done == len(examples)):
            advance(done, len(examples))
    return encoded


def pack(examples: Sequence[Encoded], *, length: int, most: int) -> list[Row]:
    """Rows of at most `length` tokens and `most` examples, the longest first where they fit best (best-fit decreasing).

    Every example is whole in one row. The same examples make the same rows.
    """
    order = sorted(range(len(examples)), key=lambda at: (-len(examples[at].tokens), at))
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room, row), by room, of the rows that take another example
    for at in order:
        size = len(examples[at].tokens)
        place = bisect_left(free, (size, -1))
        if place < len(free):
            free_tokens, row = free.pop(place)
        else:
            free_tokens, row = length, len(rows)
            rows.append([])
        rows[row].append(at)
        if len(rows[row]) < most and free_tokens > size:
            entry = (free_tokens - size, row)
            free.insert(bisect_left(free, entry), entry)
    return [
        Row(
            [token for at in row for token in examples[at].tokens],
            [label for at in row for label in examples[at].labels],
            [len(examples[at].tokens) for at in row],
        )
        for row in rows
    ]


def _bare(text: str) -> str:
    """Without what templates trim and put between."""
    return "".join(text.replace("\u200b", "").split())


def _agreement(first: str, second: str) -> int:
    """How many characters both have in common at the beginning."""
    pairs = zip(first, second, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
