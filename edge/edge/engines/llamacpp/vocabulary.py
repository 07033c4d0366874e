"""The tokens and the chat template of a GGUF file, as llama.cpp reads them; its weights need not be loaded."""

from __future__ import annotations

import ctypes
import re
from functools import cached_property
from typing import Any

from edge.engines.chat_template import CHATML, ChatTemplate
from edge.engines.guidance import GuidedVocabulary
from edge.engines.llamacpp.bindings import bindings
from edge.engines.thinking import is_mark
from edge.errors import ModelError


class GgufVocabulary:
    """Of a model that `load_model` returned, which must outlive it. `pointer` is llama.cpp's own of the vocabulary."""

    def __init__(self, model: Any) -> None:
        self._lib = bindings()
        self._model = model
        self.pointer = self._lib.llama_model_get_vocab(model)
        self._pieces: dict[int, bytes] = {}

    def tokens(self, text: str) -> list[int]:
        """Of a text in the middle; control tokens are parsed as what they are."""
        return self._tokens(text, add_special=False)

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Of a text from its beginning on, with the token that begins one unless it stands there already."""
        return self._tokens(prompt, add_special=not prompt.startswith(self.template.bos or "\0"))

    def piece(self, token: int) -> bytes:
        """What a token says: nothing for a control token, unless it is a mark of thinking."""
        piece = self._pieces.get(token)
        if piece is None:
            marks = is_mark(self._text(token))
            buffer = ctypes.create_string_buffer(256)
            n = self._lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, marks)
            if n < 0:
                buffer = ctypes.create_string_buffer(-n)
                n = self._lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, marks)
            piece = self._pieces[token] = buffer.raw[:n]
        return piece

    @cached_property
    def guided(self) -> GuidedVocabulary:
        """What a schema chooses from."""
        every = range(self._lib.llama_vocab_n_tokens(self.pointer))
        ends = [token for token in every if self._lib.llama_vocab_is_eog(self.pointer, token)]
        return GuidedVocabulary([b"" if token in ends else self.piece(token) for token in every], ends, self.tokens)

    @cached_property
    def template(self) -> ChatTemplate:
        lib = self._lib
        raw = lib.llama_model_chat_template(self._model, None)
        control = lib.LLAMA_TOKEN_ATTR_CONTROL
        specials = []
        for token in range(lib.llama_vocab_n_tokens(self.pointer)):
            attributes = lib.llama_vocab_get_attr(self.pointer, token)
            if attributes & (control | lib.LLAMA_TOKEN_ATTR_USER_DEFINED):
                text = lib.llama_vocab_get_text(self.pointer, token).decode("utf-8", "replace")
                if attributes & control or re.fullmatch(r"<\|.+\|>", text):
                    specials.append(text)
        return ChatTemplate(
            source=raw.decode("utf-8", "replace") if raw else CHATML,
            bos=self._text(lib.llama_vocab_bos(self.pointer)),
            eos=self._text(lib.llama_vocab_eos(self.pointer)),
            specials=tuple(specials),
        )

    def _tokens(self, text: str, *, add_special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        buffer = (self._lib.llama_token * room)()
        n = self._lib.llama_tokenize(self.pointer, raw, len(raw), buffer, room, add_special, True)
        if n < 0:
            raise ModelError(f"the text of {len(raw):,} bytes could not be split into tokens")
        return list(buffer[:n])

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._lib.llama_vocab_get_text(self.pointer, token).decode("utf-8", "replace"))
