"""An exported GGUF file in llama.cpp, with a context of its own that gives the logits of every position."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edge.engines.chat_template import CHATML, ChatTemplate
from edge.engines.llamacpp.bindings import bindings, forget_errors, last_error, load_model
from edge.engines.llamacpp.gguf_header import read_gguf_header
from edge.errors import AdapterError, ModelError
from edge.system.machine import physical_cores
from edge.types import Message, Role
from edge_converters.gguf.token_rules import SPECIAL_BY_TEXT
from edge_converters.parity.candidate import Generated, Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 512
PARALLEL = 8
_STEP = 256


@dataclass(frozen=True, slots=True)
class _Entry:
    """A token of a batch; `wanted`: its logits are."""

    token: int
    position: int
    sequence: int
    wanted: bool


class GgufCandidate:
    """`path`, with the LoRA `adapter` (a GGUF file) active at `scale` where one is given.

    `longrope_boundary` is the length in tokens from which LongRoPE takes its long factors: llama.cpp chooses them by
    the allocated context, so what is shorter runs in a context that is. Raises ModelError or AdapterError.
    """

    def __init__(
        self, path: Path, *, adapter: Path | None = None, scale: float = 1.0, longrope_boundary: int | None = None
    ) -> None:
        self._lib = lib = bindings()
        self._path = path
        self._longrope_boundary = longrope_boundary
        self._ctx: Any = None
        self._size = self._sequences = 0
        self._lora: Any = None
        self._scale = scale
        self._model = load_model(path)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self._batch = lib.llama_batch_init(BATCH, 0, 1)
        if adapter is not None:
            forget_errors()
            self._lora = lib.llama_adapter_lora_init(self._model, str(adapter).encode())
            if not self._lora:
                reason = last_error()
                self.close()
                raise AdapterError(f"llama.cpp cannot use {adapter} with {path.name}: {reason}")

    special_by_text = SPECIAL_BY_TEXT

    def tokens(self, text: str) -> list[int]:
        raw = text.encode("utf-8")
        buffer = (self._lib.llama_token * (len(raw) + 8))()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), buffer, len(buffer), False, True)
        if count < 0:
            raise ModelError(f"{self._path.name} cannot split a text of {len(raw):,} bytes into tokens")
        return list(buffer[:count])

    def render(self, messages: Sequence[Turn]) -> str:
        raw = self._lib.llama_model_chat_template(self._model, None)
        template = ChatTemplate(
            source=raw.decode("utf-8", "replace") if raw else CHATML,
            bos=self._text(self._lib.llama_vocab_bos(self._vocab)),
            eos=self._text(self._lib.llama_vocab_eos(self._vocab)),
        )
        turns = [Message(cast(Role, turn["role"]), turn["content"]) for turn in messages]
        return template.render(turns, think=None)  # as the original renders them, which is told nothing either

    def ends(self, token: int) -> bool:
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def end_token(self) -> int:
        return int(self._lib.llama_vocab_eos(self._vocab))

    def could_name_an_end(self) -> bool:
        settings = read_gguf_header(self._path).settings
        return any(f"tokenizer.ggml.{kind}_token_id" not in settings for kind in ("eot", "eom"))

    def replies(self, prompts: Sequence[Sequence[int]], most: int, advance: Callable[[int], None]) -> list[Generated]:
        found: list[Generated] = []
        for start in range(0, len(prompts), PARALLEL):
            group = prompts[start : start + PARALLEL]
            found.extend(self._replies(group, most))
            advance(len(found))
        return found

    def logits(self, tokens: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        self._begin(len(tokens))
        return self._compute(tokens, positions)

    def close(self) -> None:
        if self._model is None:
            return
        if self._ctx is not None:
            self._lib.llama_free(self._ctx)
        self._lib.llama_batch_free(self._batch)
        # A LoRA is freed with its model.
        self._lib.llama_model_free(self._model)
        self._ctx = self._model = self._lora = None

    def _text(self, token: int) -> str:
        return str(self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")) if token >= 0 else ""

    def _replies(self, prompts: Sequence[Sequence[int]], most: int) -> list[Generated]:
        """Side by side: a token of every reply in one step, for the weights are read once a step."""
        self._begin(max(map(len, prompts)) + most, len(prompts))
        last = [self._compute(prompt, [len(prompt) - 1], i)[0].argmax() for i, prompt in enumerate(prompts)]
        found: list[list[int]] = [[int(token)] for token in last]
        while True:
            going = [i for i, reply in enumerate(found) if len(reply) < most and not self.ends(reply[-1])]
            if not going:
                return [Generated(tuple(reply), stopped=self.ends(reply[-1])) for reply in found]
            entries = [_Entry(found[i][-1], len(prompts[i]) + len(found[i]) - 1, i, True) for i in going]
            for i, row in zip(going, self._decode(entries), strict=True):
                found[i].append(int(row.argmax()))

    def _begin(self, length: int, sequences: int = 1) -> None:
        """An empty context for as many sequences of `length` tokens, on the right side of the border."""
        fits = length <= self._size and not (self._longrope_boundary and length <= self._longrope_boundary < self._size)
        if self._ctx is None or not fits or sequences != self._sequences:
            self._open_context(-(-length // _STEP) * _STEP, sequences)
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._ctx), False)

    def _open_context(self, size: int, sequences: int) -> None:
        lib = self._lib
        if self._ctx is not None:
            lib.llama_free(self._ctx)
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_seq_max = size * sequences, sequences
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = physical_cores()
        # On a CPU, flash attention takes another kernel for another batch size, and the logits move with it.
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.no_perf = True
        forget_errors()
        self._ctx = lib.llama_init_from_model(self._model, params)
        if not self._ctx:
            self._ctx = None
            raise ModelError(f"{self._path.name}: no context of {size:,} tokens could be made: {last_error()}")
        self._size, self._sequences = size, sequences
        if self._lora is not None:
            loras, scales = (type(self._lora) * 1)(self._lora), (ctypes.c_float * 1)(self._scale)
            if lib.llama_set_adapters_lora(self._ctx, loras, 1, scales):
                raise AdapterError(f"the adapter could not be activated on {self._path.name}: {last_error()}")

    def _compute(self, tokens: Sequence[int], positions: Sequence[int], sequence: int = 0) -> NDArray[np.float32]:
        import numpy as np

        chosen = set(positions)
        entries = [_Entry(token, i, sequence, i in chosen) for i, token in enumerate(tokens)]
        found = [self._decode(entries[start : start + BATCH]) for start in range(0, len(entries), BATCH)]
        return np.concatenate(found)

    def _decode(self, entries: Sequence[_Entry]) -> NDArray[np.float32]:
        """The logits of the wanted ones among at most BATCH tokens."""
        import numpy as np

        batch = self._batch
        batch.n_tokens = len(entries)
        for i, entry in enumerate(entries):
            batch.token[i], batch.pos[i] = entry.token, entry.position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, entry.sequence
            batch.logits[i] = entry.wanted
        forget_errors()
        status = self._lib.llama_decode(self._ctx, batch)
        if status:
            raise ModelError(f"llama.cpp cannot compute {self._path.name} (status {status}): {last_error()}")
        count = sum(entry.wanted for entry in entries)
        if not count:
            return np.empty((0, self.vocabulary), np.float32)
        logits = self._lib.llama_get_logits(self._ctx)
        return np.array(np.ctypeslib.as_array(logits, shape=(count, self.vocabulary)))
