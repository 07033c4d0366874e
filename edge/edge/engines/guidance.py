"""The tokens that keep a reply to a JSON schema: llguidance over the vocabulary of either engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from edge.engines.json_schema import grammar_of
from edge.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST_RUN = 20
"""Digits of a number, or blanks in a string, one after the other: a small model would go on with them for ever."""

_DIGIT = re.compile(rb"[0-9]")
_BLANK = re.compile(rb"[ \\]")
"""How a blank in a JSON string begins: as itself or escaped."""


@dataclass(frozen=True)
class GuidedVocabulary:
    """What each token says (`pieces`; nothing for a special one), those that end a reply, and how text is split."""

    pieces: Sequence[bytes]
    ends: Sequence[int]
    split: Callable[[str], list[int]]

    @cached_property
    def tokenizer(self) -> Any:
        """llguidance's own; a fifth of a second for 49,152 tokens."""
        from llguidance import LLTokenizer

        wrapper: Any = _Wrapper(self)
        return LLTokenizer(wrapper, eos_token=list(self.ends), slices=LLTokenizer.json_slices())

    def beginning_with(self, byte: re.Pattern[bytes]) -> NDArray[np.bool_]:
        """Which tokens [vocabulary] do."""
        import numpy as np

        return np.fromiter((byte.match(piece) is not None for piece in self.pieces), bool, len(self.pieces))

    @cached_property
    def digits(self) -> NDArray[np.bool_]:
        return self.beginning_with(_DIGIT)

    @cached_property
    def blanks(self) -> NDArray[np.bool_]:
        return self.beginning_with(_BLANK)


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` is found in a text, as grammars read it; in time that grows with the text alone."""
    from llguidance import LLMatcher

    matcher = LLMatcher(_bytes().tokenizer, _string_grammar(pattern), log_level=0)
    said = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace")
    return bool(matcher.try_consume_tokens(list(said)) == len(said) and matcher.is_accepting())


@cache
def _bytes() -> GuidedVocabulary:
    """A token a byte, and one that ends."""
    return GuidedVocabulary([bytes([byte]) for byte in range(256)] + [b""], [256], lambda text: list(text.encode()))


@lru_cache(maxsize=32)
def _string_grammar(pattern: str) -> str:
    return grammar_of(json.dumps({"type": "string", "pattern": pattern}))


class _Wrapper:
    """A vocabulary as llguidance asks for it."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, vocabulary: GuidedVocabulary) -> None:
        self.tokens = [bytes(piece) for piece in vocabulary.pieces]
        self.special_token_ids = [token for token, piece in enumerate(vocabulary.pieces) if not piece]
        self.eos_token_id = vocabulary.ends[0] if vocabulary.ends else 0
        self._vocabulary = vocabulary

    def __call__(self, text: str | bytes) -> list[int]:
        """Of what must follow in any case, that the model sees it as it learnt it."""
        wanted = text.encode() if isinstance(text, str) else text
        tokens = self._vocabulary.split(wanted.decode("utf-8", "replace"))
        if b"".join(self.tokens[token] for token in tokens) == wanted:
            return tokens
        # SentencePiece puts a blank in front of a text, which does not begin here.
        greedy: list[int] = self._vocabulary.tokenizer.greedy_tokenize(wanted.decode("utf-8", "replace"))
        return greedy


class Guidance:
    """One reply under a schema. Raises UsageError for a schema that no reply can be held to."""

    def __init__(self, vocabulary: GuidedVocabulary, schema: str) -> None:
        from llguidance import LLMatcher

        self._vocabulary = vocabulary
        self._matcher = LLMatcher(vocabulary.tokenizer, grammar_of(schema), log_level=0)
        self._runs = _Runs()

    @property
    def complete(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    def restrict(self, logits: NDArray[np.float32]) -> None:
        """Set those of `logits` [vocabulary] that may not follow to minus infinity, in place. Raises ModelError."""
        import numpy as np

        mask = self._matcher.compute_bitmask() if not self._matcher.is_error() else b""
        if self._matcher.is_error():
            reason = self._matcher.get_error().partition("\n")[0]
            raise ModelError(f"the reply cannot be held to response_format any longer: {reason}; simplify the schema")
        size = len(self._vocabulary.pieces)
        allowed = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[:size].astype(bool)
        if self._runs.digits >= _LONGEST_RUN:
            allowed = _without(allowed, self._vocabulary.digits)
        if self._runs.blanks >= _LONGEST_RUN:
            allowed = _without(allowed, self._vocabulary.blanks)
        logits[:size][~allowed] = -np.inf
        logits[size:] = -np.inf

    def accept(self, token: int) -> None:
        """Tell which token was taken."""
        self._matcher.consume_token(token)
        self._runs.follow(self._vocabulary.pieces[token] if token < len(self._vocabulary.pieces) else b"")


class _Runs:
    """How many digits of a number, or blanks in a string, the JSON so far ends with."""

    def __init__(self) -> None:
        self.digits = self.blanks = 0
        self._in_string = self._escaped = False

    def follow(self, piece: bytes) -> None:
        for byte in piece:
            self._step(byte)

    def _step(self, byte: int) -> None:
        if not self._in_string:
            self.digits = self.digits + 1 if byte in b"0123456789" else 0
            self._in_string = byte == ord('"')
        elif self._escaped:
            self.blanks = self.blanks + 1 if byte in b"nrt" else 0
            self._escaped = False
        elif byte == ord("\\"):
            self._escaped = True
        else:
            self.blanks = self.blanks + 1 if byte == ord(" ") else 0
            self._in_string = byte != ord('"')


def _without(allowed: NDArray[np.bool_], unwanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`allowed` without `unwanted`, unless the schema wants just that."""
    left = allowed & ~unwanted
    return left if left.any() else allowed
