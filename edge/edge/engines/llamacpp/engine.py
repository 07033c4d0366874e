"""GGUF models on llama.cpp, through the low-level functions of llama-cpp-python.

The high-level class keeps its prompt cache by tokens alone and copies every logit to numpy; here the context,
the sampler chain and the KV cache are our own.
"""

from __future__ import annotations

import codecs
import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.engines.contract import Interrupted, Token, check_length, closed
from edge.engines.gpu import offloaded
from edge.engines.guidance import Guidance
from edge.engines.llamacpp.bindings import bindings, forget_errors, last_error, load_model
from edge.engines.llamacpp.kv_cache_store import KVCacheStore
from edge.engines.llamacpp.sampler_chain import SamplerChain
from edge.engines.llamacpp.vocabulary import GgufVocabulary
from edge.engines.memory_fit import DEFAULT_CONTEXT, check_fit, choose_context
from edge.engines.sampling import log_probability
from edge.errors import AdapterError, ModelError, UsageError
from edge.system.machine import physical_cores, prefill_rate
from edge.types import Adapter, Message, Prefill, Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_SAVED_TOKENS = 64
"""Tokens from which on reading a state is quicker than computing it."""

BATCH = 512
"""Tokens that are read in one step: large enough for full speed, small enough to cancel in between."""

KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""ggml's numbers for the types that keys and values may have."""

_ABORTED = 2
"""What llama_decode returns when its callback asks it to stop."""


class LlamaCppEngine:
    """One GGUF file and one context of it. See `Engine` for the contract.

    `context` is in tokens (None: 4096 or what the model was trained for, if less); above 4096 llama.cpp allocates
    LongRoPE's long factors, which make Phi-3.5, Phi-3-128k and Phi-4-mini worse on short prompts (its issue 24823):
    nobody crosses that unasked. `threads` None takes the physical cores. `gpu_layers`: see `offloaded`. `kv_type` is
    f16, q8_0 or q4_0. `kv_budget` is the bytes that states may take in the cache directory, 0 for none.
    Raises ModelNotFound, ModelTooLarge (not with `force`), ModelError, UsageError or MissingExtra.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int | None = None,
        threads: int | None = None,
        gpu_layers: int | Literal["all", "auto"] | None = None,
        kv_type: str = "f16",
        kv_budget: int = 0,
        force: bool = False,
        progress: Callable[[float], object] | None = None,
    ) -> None:
        if kv_type not in KV_TYPES:
            raise UsageError(f"there is no KV type {kv_type!r}; choose f16, q8_0 or q4_0")
        self.kv_type = kv_type
        self._ctx: Any = None
        self._path = path
        self._loras: dict[str, Any] = {}
        self._tokens: list[int] = []
        self._kv_key: tuple[str, float] | None = None
        self._computed_boundaries: list[int] = []
        """The boundaries between which the prompt that is there was computed."""
        self._kv_store = KVCacheStore(path, kv_budget)
        self._lib = lib = bindings()
        layers, gpu = offloaded(path, gpu_layers, context=context, kv_type=kv_type)
        if not force:
            on_gpu = "all" if layers < 0 else layers
            check_fit(path, context=context or DEFAULT_CONTEXT, kv_type=kv_type, gpu_layers=on_gpu)
        self._model = load_model(path, gpu_layers=layers, progress=progress)
        self._vocabulary = GgufVocabulary(self._model)
        self._vocab = self._vocabulary.pointer
        self.parameters: int | None = int(lib.llama_model_n_params(self._model))
        try:
            self.context = choose_context(context, int(lib.llama_model_n_ctx_train(self._model)), path.name)
            threads = threads or physical_cores()
            self._make_context(threads)
            self.prefill_rate = prefill_rate(self.parameters or 0, threads, gpu=bool(layers))
            processor = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
            self.device = f"{gpu}, {'all' if layers < 0 else layers} layers" if layers else processor
            self._kv_store.settings = (self.context, *[KV_TYPES[kv_type]] * 2, threads, self.device)
        except BaseException:
            self.close()
            raise

    @property
    def cache_error(self) -> str | None:
        return self._kv_store.error

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        return self._vocabulary.template.render(messages, think=think)

    def count(self, text: str) -> int:
        return len(self._vocabulary.tokens(text))

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
        self._kv_store.add_adapter(adapter.name, path)

    def remove_adapter(self, name: str) -> None:
        lora = self._loras.pop(name)
        if self._kv_key is not None and self._kv_key[0] == name:
            self._use_adapter(None)
        # The name may come again with other weights.
        self._kv_store.remove_adapter(name)
        self._lib.llama_adapter_lora_free(lora)

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        yield from self._read(prompt, adapter, prefix_boundaries)
        yield from self._decode(sampling)

    def score(self, prompt: str, continuations: Sequence[str], adapter: Adapter | None) -> list[float]:
        for _ in self._read(prompt, adapter):
            pass
        read, last = len(self._tokens), self._logits(-1)
        scores = []
        for continuation in continuations:
            tokens = self._vocabulary.tokens(continuation)
            check_length(read + len(tokens), self.context)
            rows = [last]
            if tokens[1:]:
                self._compute(tokens[:-1], every=True)
                rows += [self._logits(row) for row in range(len(tokens) - 1)]
                self._truncate(read)
            scores.append(sum(map(log_probability, map(_floats, rows), tokens)))
        return scores

    def prefill_cache(
        self,
        prompt: str,
        adapter: Adapter | None,
        prefix_boundaries: Sequence[int],
        stopped: Callable[[], bool] | None = None,
    ) -> int | None:
        tokens = self._vocabulary.prompt_tokens(prompt)
        boundaries = self._boundary_tokens(prompt, tokens, prefix_boundaries)
        if not self._kv_store.budget or not boundaries:
            return None
        self._use_adapter(adapter)
        # Hashing a model takes seconds, in which nothing can be interrupted.
        states = self._kv_store.files(self._kv_key, hashing=stopped is None)
        beginning = tokens[: boundaries[-1]]
        if states is None or beginning in states:
            return None if states is None else 0
        check_length(len(beginning), self.context)
        self._truncate(self._last_boundary(boundaries, _common_prefix(self._tokens, tokens)))
        self._computed_boundaries = boundaries
        with self._interruptible(stopped):
            for start, end in _batches(len(self._tokens), boundaries[-1], boundaries):
                self._compute(tokens[start:end])
        state = self._state()
        return len(state) if states.put(beginning, state) else None

    def save_kv_cache(self, beginning: str | None = None) -> bool:
        if self._kv_store.budget and beginning is not None:
            self._truncate(_common_prefix(self._tokens, self._vocabulary.prompt_tokens(beginning)))
        if not self._kv_store.budget or len(self._tokens) < MIN_SAVED_TOKENS:
            return False
        # One long conversation is not worth all passages that it would drive out.
        if self._lib.llama_state_seq_get_size(self._ctx, 0) > self._kv_store.budget // 4:
            return False
        states = self._kv_store.files(self._kv_key, hashing=True)
        return states is not None and (self._tokens in states or states.put(list(self._tokens), self._state()))

    def close(self) -> None:
        if self._model is None:
            return
        self._kv_store.close()
        if self._ctx is not None:
            self._lib.llama_free(self._ctx)
        # Adapters are freed with their model.
        self._lib.llama_model_free(self._model)
        self._ctx = self._model = None
        self._lib = self._vocabulary = closed(self._path.name)
        self._loras.clear()
        self._tokens = []

    def _make_context(self, threads: int) -> None:
        params = self._lib.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = params.n_ubatch = min(BATCH, self.context)
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = KV_TYPES[self.kv_type]
        params.no_perf = True
        forget_errors()
        self._ctx = self._lib.llama_init_from_model(self._model, params)
        if not self._ctx:
            raise ModelError(
                f"{self._path.name} was read but a context of {self.context:,} tokens could not be made: "
                f"{last_error()}; free some memory or ask for a smaller context"
            )
        self._memory = self._lib.llama_get_memory(self._ctx)

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

    def _read(self, prompt: str, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()) -> Iterator[Prefill]:
        tokens = self._vocabulary.prompt_tokens(prompt)
        check_length(len(tokens), self.context)
        self._use_adapter(adapter)
        yield from self._prefill(tokens, self._boundary_tokens(prompt, tokens, prefix_boundaries))

    def _forget(self) -> None:
        self._lib.llama_memory_clear(self._memory, False)
        self._tokens = []

    def _prefill(self, tokens: list[int], boundaries: Sequence[int]) -> Iterator[Prefill]:
        # The last token is always computed: its logits choose the first one of the reply.
        total, last = len(tokens), len(tokens) - 1
        cached = min(_common_prefix(self._tokens, tokens), last)
        if boundaries and not (cached == last and self._computed_boundaries == boundaries):
            cached = self._last_boundary(boundaries, cached)  # the rest was computed in other pieces
        if boundaries or cached < last:
            self._computed_boundaries = list(boundaries)
        restored = self._restore(tokens[:last], cached + MIN_SAVED_TOKENS)
        cached = restored or self._truncate(cached)
        # It is computed alone, as it is when the same prompt comes again: batches round differently.
        for start, end in _batches(cached, last, boundaries):
            self._compute(tokens[start:end])
            if end in boundaries[-1:] and end >= MIN_SAVED_TOKENS and self._kv_store.budget:
                self._kv_store.write_later(self._kv_key, tokens[:end], self._state())
            yield Prefill(total=total, cached=cached, done=end, restored=restored)
        self._compute(tokens[-1:])
        yield Prefill(total=total, cached=cached, done=total, restored=restored)

    def _truncate(self, length: int) -> int:
        """Forget what stands behind the first `length` tokens; how many are left. Recurrent models forget all."""
        if length < len(self._tokens):
            if self._lib.llama_memory_seq_rm(self._memory, 0, length, -1):
                del self._tokens[length:]
            else:
                self._forget()
        return len(self._tokens)

    def _last_boundary(self, boundaries: Sequence[int], length: int) -> int:
        """The last of `boundaries` within `length` up to which what is there was computed in pieces that end there."""
        known = (0, *self._computed_boundaries)
        return max(boundary for boundary in (0, *boundaries) if boundary <= length and boundary in known)

    def _boundary_tokens(self, prompt: str, tokens: Sequence[int], prefix_boundaries: Sequence[int]) -> list[int]:
        """How many tokens stand before each boundary, as far as no token reaches across it."""
        boundaries = []
        for boundary in prefix_boundaries:
            # With the character behind it, for line ends are split otherwise where the text ends with them.
            before = self._vocabulary.prompt_tokens(prompt[: boundary + 1])[:-1]
            if before and list(tokens[: len(before)]) == before:
                boundaries.append(len(before))
        return boundaries

    def _restore(self, tokens: list[int], least: int) -> int:
        """Take the longest kept beginning of `tokens`, if it has `least` or more, in place of what is there; its
        length, 0 for none."""
        states = self._kv_store.files(self._kv_key, hashing=False) if len(tokens) >= least else None
        found = states.longest(tokens, least) if states is not None else None
        if found is None:
            return 0
        length, state = found
        self._forget()
        if self._lib.llama_state_seq_set_data(self._ctx, _bytes(state), len(state), 0) != len(state):
            self._forget()
            return 0
        self._tokens = tokens[:length]
        return length

    def _state(self) -> bytes:
        """The KV cache as it is."""
        size = self._lib.llama_state_seq_get_size(self._ctx, 0)
        buffer = (ctypes.c_uint8 * size)()
        written = self._lib.llama_state_seq_get_data(self._ctx, buffer, size, 0)
        return ctypes.string_at(buffer, written)

    @contextmanager
    def _interruptible(self, stopped: Callable[[], bool] | None) -> Iterator[None]:
        """Within this llama.cpp asks `stopped` between two operations: some microseconds each, too dear for always."""
        if stopped is None:
            yield
            return
        callback = self._lib.ggml_abort_callback(lambda _: stopped())
        self._lib.llama_set_abort_callback(self._ctx, callback, None)
        try:
            yield
        finally:
            self._lib.llama_set_abort_callback(self._ctx, self._lib.ggml_abort_callback(), None)

    def _compute(self, tokens: list[int], *, every: bool = False) -> None:
        """Append to the KV. `every`: logits of all of them, not of the last one only."""
        n = len(tokens)
        array = (self._lib.llama_token * n)(*tokens)  # named, for the batch only points to it
        batch = self._lib.llama_batch_get_one(array, n)
        flags = (ctypes.c_int8 * n)(*[1] * n)
        if every:
            batch.logits = flags
        status = self._lib.llama_decode(self._ctx, batch)
        if status == _ABORTED:
            if not self._lib.llama_memory_seq_rm(self._memory, 0, len(self._tokens), -1):
                self._forget()
            raise Interrupted
        if status:
            self._forget()
            raise ModelError(f"llama.cpp could not compute {n} tokens (status {status}): {last_error()}")
        self._tokens.extend(tokens)

    def _decode(self, sampling: Sampling) -> Iterator[Token]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        room = min(sampling.max_tokens, self.context - len(self._tokens))
        if room < 1:
            yield Token("", "length")
            return
        lib = self._lib
        guidance = None if sampling.schema is None else Guidance(self._vocabulary.guided, sampling.schema)
        sampler = SamplerChain(lib, self._vocab, sampling, guidance)
        try:
            for left, token in zip(range(room - 1, -1, -1), self._choose(sampler), strict=False):
                if lib.llama_vocab_is_eog(self._vocab, token):
                    yield Token(decoder.decode(b"", True), "stop")
                    return
                if not left:
                    yield Token(decoder.decode(self._vocabulary.piece(token), True), "length")
                    return
                yield Token(decoder.decode(self._vocabulary.piece(token)))
                if sampler.complete:
                    yield Token("", "stop")
                    return
        finally:
            sampler.close()

    def _choose(self, sampler: SamplerChain) -> Iterator[int]:
        """The tokens of a reply, without end; the KV holds only tokens that were chosen, and never the newest."""
        while True:
            token = sampler.sample(self._ctx, -1)
            yield token
            self._compute([token])

    def _logits(self, row: int) -> bytes:
        size = self._lib.llama_vocab_n_tokens(self._vocab) * ctypes.sizeof(ctypes.c_float)
        return ctypes.string_at(self._lib.llama_get_logits_ith(self._ctx, row), size)


def _batches(start: int, end: int, boundaries: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The batches from `start` to `end`: each ends at a boundary, or is a full one."""
    for border in [*(boundary for boundary in boundaries if start < boundary < end), end]:
        while start < border:
            done = min(start + BATCH, border)
            yield start, done
            start = done


def _bytes(data: bytes) -> Any:
    """As llama.cpp takes them, not copied."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))


def _floats(logits: bytes) -> NDArray[np.float32]:
    import numpy as np

    return np.frombuffer(logits, np.float32)


def _common_prefix(a: list[int], b: list[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
