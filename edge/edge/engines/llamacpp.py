"""GGUF models on llama.cpp, through the low-level functions of llama-cpp-python.

The high-level class keeps its prompt cache by tokens alone and copies every logit to numpy; here the context,
the sampler chain and the KV cache are our own.
"""

from __future__ import annotations

import codecs
import ctypes
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from edge.engines.base import Token
from edge.engines.gguf import bindings, forget_errors, last_error, load_model
from edge.engines.template import CHATML, ChatTemplate
from edge.errors import AdapterError, ContextOverflow, ModelError
from edge.machine import physical_cores
from edge.types import Adapter, Message, Prefill, Sampling

DEFAULT_CONTEXT = 4096
"""Tokens. Also the border above which llama.cpp allocates LongRoPE's long factors, which make Phi-3.5,
Phi-3-128k and Phi-4-mini worse on short prompts (llama.cpp issue 24823): nobody crosses it unasked."""

BATCH = 512
"""Tokens that are read in one step: large enough for full speed, small enough to cancel in between."""


class LlamaCppEngine:
    """One GGUF file and one context of it. See `Engine` for the contract.

    `context` is in tokens (None: 4096 or what the model was trained for, if less); `threads` None takes the
    physical cores; `gpu_layers` None offloads everything where this build of llama.cpp can.
    Raises ModelNotFound, ModelError or MissingExtra.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int | None = None,
        threads: int | None = None,
        gpu_layers: int | Literal["all", "auto"] | None = None,
        kv_type: str = "f16",
        lookup: bool = True,
        force: bool = False,
    ) -> None:
        self._ctx: Any = None
        self._path = path
        self._loras: dict[str, Any] = {}
        self._tokens: list[int] = []
        self._kv_key: tuple[str, float] | None = None
        self._lib = lib = bindings()
        self._model = load_model(path, gpu_layers=gpu_layers if isinstance(gpu_layers, int) else None)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._pieces: dict[int, bytes] = {}
        try:
            self.context = self._choose_context(context)
            threads = threads or physical_cores()
            self._ctx = self._make_context(threads)
            self.device = f"CPU, {threads} threads"
            self._memory = lib.llama_get_memory(self._ctx)
        except BaseException:
            self.close()
            raise

    def render(self, messages: Sequence[Message]) -> str:
        return self._template.render(messages)

    def count(self, text: str) -> int:
        return len(self._tokenize(text, add_special=False))

    def add_adapter(self, adapter: Adapter) -> None:
        path = Path(adapter.path)
        if not path.is_file():
            raise AdapterError(f"{path} is not there; name a LoRA in GGUF format")
        forget_errors()
        lora = self._lib.llama_adapter_lora_init(self._model, str(path).encode())
        if not lora:
            raise AdapterError(
                f"{path} cannot be used with {self._path.name}: {last_error()}; is it a GGUF LoRA made for this base?"
            )
        self._loras[adapter.name] = lora

    def remove_adapter(self, name: str) -> None:
        lora = self._loras.pop(name)
        if self._kv_key is not None and self._kv_key[0] == name:
            self._use_adapter(None)
        self._lib.llama_adapter_lora_free(lora)

    def stream(self, prompt: str, sampling: Sampling, adapter: Adapter | None) -> Iterator[Prefill | Token]:
        tokens = self._tokenize(prompt, add_special=not prompt.startswith(self._template.bos or "\0"))
        if not tokens:
            raise ModelError("the prompt is empty; write something")
        if len(tokens) >= self.context:
            raise ContextOverflow(
                f"the prompt has {len(tokens):,} tokens and the context holds {self.context:,}; "
                "shorten it or load the model with a larger context",
                needed=len(tokens) + 1,
                limit=self.context,
            )
        self._use_adapter(adapter)
        yield from self._prefill(tokens)
        yield from self._decode(sampling)

    def close(self) -> None:
        if self._model is None:
            return
        if self._ctx is not None:
            self._lib.llama_free(self._ctx)
        # Adapters are freed with their model.
        self._lib.llama_model_free(self._model)
        self._ctx = self._model = None
        self._loras.clear()
        self._tokens = []

    def _choose_context(self, wanted: int | None) -> int:
        trained = int(self._lib.llama_model_n_ctx_train(self._model))
        if wanted is None:
            return min(DEFAULT_CONTEXT, trained) if trained > 0 else DEFAULT_CONTEXT
        if wanted < 1 or 0 < trained < wanted:
            raise ModelError(
                f"a context of {wanted:,} tokens was asked for and {self._path.name} was trained for "
                f"{trained:,}; choose 1 to {trained:,}"
            )
        return wanted

    def _make_context(self, threads: int) -> Any:
        params = self._lib.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = params.n_ubatch = min(BATCH, self.context)
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        forget_errors()
        ctx = self._lib.llama_init_from_model(self._model, params)
        if not ctx:
            raise ModelError(
                f"{self._path.name} was read but a context of {self.context:,} tokens could not be made: "
                f"{last_error()}; free some memory or ask for a smaller context"
            )
        return ctx

    @cached_property
    def _template(self) -> ChatTemplate:
        lib = self._lib
        raw = lib.llama_model_chat_template(self._model, None)
        control = lib.LLAMA_TOKEN_ATTR_CONTROL
        specials = []
        for token in range(lib.llama_vocab_n_tokens(self._vocab)):
            attributes = lib.llama_vocab_get_attr(self._vocab, token)
            if attributes & (control | lib.LLAMA_TOKEN_ATTR_USER_DEFINED):
                text = lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")
                if attributes & control or re.fullmatch(r"<\|.+\|>", text):
                    specials.append(text)
        return ChatTemplate(
            source=raw.decode("utf-8", "replace") if raw else CHATML,
            bos=self._token_text(lib.llama_vocab_bos(self._vocab)),
            eos=self._token_text(lib.llama_vocab_eos(self._vocab)),
            specials=tuple(specials),
        )

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        buffer = (self._lib.llama_token * room)()
        n = self._lib.llama_tokenize(self._vocab, raw, len(raw), buffer, room, add_special, True)
        if n < 0:
            raise ModelError(f"the text of {len(raw):,} bytes could not be split into tokens")
        return list(buffer[:n])

    def _piece(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            buffer = ctypes.create_string_buffer(256)
            n = self._lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
            if n < 0:
                buffer = ctypes.create_string_buffer(-n)
                n = self._lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
            piece = self._pieces[token] = buffer.raw[:n]
        return piece

    def _use_adapter(self, adapter: Adapter | None) -> None:
        """Activate a LoRA, or none. KV that was computed under another one, or another scale, is not valid any more."""
        key = None if adapter is None else (adapter.name, adapter.scale)
        if key == self._kv_key:
            return
        self._forget()
        chosen = [] if adapter is None else [self._loras[adapter.name]]
        loras = (self._lib.llama_adapter_lora_p_ctypes * 1)(*chosen)
        scales = (ctypes.c_float * 1)(0.0 if adapter is None else adapter.scale)
        if self._lib.llama_set_adapters_lora(self._ctx, loras, len(chosen), scales):
            raise AdapterError(f"the adapter {key} could not be activated: {last_error()}")
        self._kv_key = key

    def _forget(self) -> None:
        self._lib.llama_memory_clear(self._memory, False)
        self._tokens = []

    def _prefill(self, tokens: list[int]) -> Iterator[Prefill]:
        cached = _common_prefix(self._tokens, tokens)
        # The last token is always computed: its logits choose the first one of the reply.
        cached = min(cached, len(tokens) - 1)
        if cached < len(self._tokens):
            if self._lib.llama_memory_seq_rm(self._memory, 0, cached, -1):
                del self._tokens[cached:]
            else:  # recurrent models cannot forget a part
                self._forget()
                cached = 0
        total = len(tokens)
        for start in range(cached, total, BATCH):
            self._compute(tokens[start : start + BATCH])
            yield Prefill(total=total, cached=cached, done=min(start + BATCH, total))

    def _compute(self, tokens: list[int]) -> None:
        array = (self._lib.llama_token * len(tokens))(*tokens)
        status = self._lib.llama_decode(self._ctx, self._lib.llama_batch_get_one(array, len(tokens)))
        if status:
            self._forget()
            raise ModelError(f"llama.cpp could not compute {len(tokens)} tokens (status {status}): {last_error()}")
        self._tokens.extend(tokens)

    def _decode(self, sampling: Sampling) -> Iterator[Token]:
        lib, ctx, vocab = self._lib, self._ctx, self._vocab
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        room = min(sampling.max_tokens, self.context - len(self._tokens))
        if room < 1:
            yield Token("", "length")
            return
        sampler = self._sampler(sampling)
        try:
            for left in range(room - 1, -1, -1):
                token = lib.llama_sampler_sample(sampler, ctx, -1)
                if lib.llama_vocab_is_eog(vocab, token):
                    yield Token(decoder.decode(b"", True), "stop")
                    return
                if not left:
                    yield Token(decoder.decode(self._piece(token), True), "length")
                    return
                yield Token(decoder.decode(self._piece(token)))
                self._compute([token])
        finally:
            lib.llama_sampler_free(sampler)

    def _sampler(self, sampling: Sampling) -> Any:
        lib = self._lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

        def add(sampler: Any) -> None:
            lib.llama_sampler_chain_add(chain, sampler)

        if sampling.repeat_penalty != 1.0:
            vocabulary = lib.llama_vocab_n_tokens(self._vocab)
            penalties = (sampling.repeat_last, sampling.repeat_penalty, 0.0, 0.0)
            add(lib.llama_sampler_init_penalties(vocabulary, *penalties))
        if sampling.temperature <= 0:
            add(lib.llama_sampler_init_greedy())
            return chain
        add(lib.llama_sampler_init_top_k(sampling.top_k))
        add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        add(lib.llama_sampler_init_min_p(sampling.min_p, 1))
        add(lib.llama_sampler_init_temp(sampling.temperature))
        add(lib.llama_sampler_init_dist(_seed(sampling.seed)))
        return chain


def _common_prefix(a: list[int], b: list[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _seed(seed: int | None) -> int:
    if seed is not None:
        return seed & 0xFFFFFFFF
    import secrets

    return secrets.randbits(32)
