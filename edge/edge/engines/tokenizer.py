"""The tokeniser of a Hugging Face folder: text -> tokens -> text as it comes, and the chat template beside it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from edge.engines.chat_template import CHATML, ChatTemplate
from edge.engines.guidance import GuidedVocabulary
from edge.engines.thinking import is_mark
from edge.errors import ModelError
from edge.system.json_file import read_json_object

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_LOOKS_SPECIAL = re.compile(r"<\|.+\|>")
_ENDS = ("</s>", "<|end|>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<eos>",
         "<end_of_turn>", "<|return|>")  # fmt: skip


class HuggingFaceTokenizer:
    """tokenizer.json of `folder`, with what tokenizer_config.json and chat_template.jinja add.

    Raises ModelError when there is none or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ModelError(f"{folder} has no tokenizer.json; fetch the model again or make it anew from its original")
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"{file} cannot be read: {error}; fetch the model again") from error
        self._folder = folder
        self._settings = _json(folder / "tokenizer_config.json")
        self._added = self._tokenizer.get_added_tokens_decoder()
        self._byte_level = "ByteLevel(" in repr(self._tokenizer.decoder)
        self._pieces: dict[int, bytes] = {}

    def tokens(self, text: str) -> list[int]:
        """Special tokens that `text` spells are parsed as what they are; nothing is put in front."""
        # Half a surrogate pair has no UTF-8.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def prompt(self, text: str) -> list[int]:
        """As `tokens`, with the beginning-of-text token in front where the model wants one and `text` has none."""
        tokens = self.tokens(text)
        return tokens if self._begin is None or text.startswith(self.bos) else [self._begin, *tokens]

    def piece(self, token: int) -> bytes:
        """UTF-8 of a token, which may end within a character; nothing for unknown tokens and for special ones that are
        no marks of thinking."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._spell(token)
        return piece

    def decoder(self) -> codecs.IncrementalDecoder:
        """Bytes of pieces -> whole characters."""
        return codecs.getincrementaldecoder("utf-8")("replace")

    def guided(self, ends: Iterable[int]) -> GuidedVocabulary:
        """What a schema chooses from, in a model whose replies end at `ends`."""
        last = sorted(ends)
        every = range(max(self._tokenizer.get_vocab_size(), *(token + 1 for token in last), 0))
        return GuidedVocabulary([b"" if token in last else self.piece(token) for token in every], last, self.tokens)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Special tokens that end a turn in the models that use them, as llama.cpp knows them too."""
        known = {entry.content for entry in self._added.values()}
        # With channels, <|end|> ends one of them and not the turn.
        ends = set(_ENDS) - ({"<|end|>"} if {"<|return|>", "<|call|>"} <= known else set())
        return frozenset(token for token, entry in self._added.items() if entry.content in ends)

    @cached_property
    def bos(self) -> str:
        return _text(self._settings.get("bos_token"))

    @cached_property
    def template(self) -> ChatTemplate:
        """The model's own, ChatML where it has none."""
        texts = [(entry.content, entry.special) for entry in self._added.values()]
        specials = tuple(text for text, special in texts if special or _LOOKS_SPECIAL.fullmatch(text))
        return ChatTemplate(self._template_source(), self.bos, _text(self._settings.get("eos_token")), specials)

    def _template_source(self) -> str:
        file = self._folder / "chat_template.jinja"
        try:
            source: Any = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            source = self._settings.get("chat_template")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{file} cannot be read: {error}") from error
        if isinstance(source, list):
            named = [entry for entry in source if isinstance(entry, dict)]
            source = {entry.get("name"): entry.get("template") for entry in named}.get("default")
        return source if isinstance(source, str) else CHATML

    @cached_property
    def _begin(self) -> int | None:
        """The token that belongs in front of every text."""
        bos = self._tokenizer.token_to_id(self.bos) if self.bos else None
        if self._tokenizer.post_processor is None:
            return bos if self._settings.get("add_bos_token") is True else None
        first: list[int] = self._tokenizer.encode("", add_special_tokens=True).ids[:1]
        return bos if first == [bos] else None

    def _spell(self, token: int) -> bytes:
        if token in self._added:
            entry = self._added[token]
            silent = token in self.ends or (entry.special and not is_mark(str(entry.content)))
            return b"" if silent else str(entry.content).encode()
        text = self._tokenizer.id_to_token(token)
        if text is None:
            return b""
        if self._byte_level:
            return bytes(_BYTE_OF[character] for character in text if character in _BYTE_OF)
        byte = _BYTE_PIECE.fullmatch(text)
        return bytes([int(byte[1], 16)]) if byte else str(text).replace("\u2581", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's way to write bytes: the printable ones of Latin-1 as they are, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _json(file: Path) -> Mapping[str, Any]:
    return read_json_object(file, ModelError, advice="fetch the model again") if file.exists() else {}


def _text(token: Any) -> str:
    """A special token stands as text or as an object with `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""
