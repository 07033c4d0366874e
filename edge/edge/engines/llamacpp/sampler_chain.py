"""llama.cpp's sampler chain for one reply, behind what a schema leaves over: penalties, and how a token is drawn."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from edge.engines.guidance import Guidance
from edge.types import Sampling


class SamplerChain:
    """Chooses token after token of one reply; `close` frees it."""

    def __init__(self, lib: ModuleType, vocab: Any, sampling: Sampling, guidance: Guidance | None) -> None:
        self._lib = lib
        self._size = int(lib.llama_vocab_n_tokens(vocab))
        self._guidance = guidance
        self._chain = _chain(lib, self._size, sampling)

    @property
    def complete(self) -> bool:
        """Whether the schema lets nothing follow."""
        return self._guidance is not None and self._guidance.complete

    def sample(self, context: Any, row: int) -> int:
        """The token after row `row` of what `context` computed last."""
        if self._guidance is None:
            return int(self._lib.llama_sampler_sample(self._chain, context, row))
        import numpy as np

        # llama.cpp's own array: what stands in it is what its samplers see.
        logits = self._lib.llama_get_logits_ith(context, row)
        self._guidance.restrict(np.ctypeslib.as_array(logits, (self._size,)))
        token = int(self._lib.llama_sampler_sample(self._chain, context, row))
        self._guidance.accept(token)
        return token

    def close(self) -> None:
        self._lib.llama_sampler_free(self._chain)


def _chain(lib: ModuleType, vocabulary: int, sampling: Sampling) -> Any:
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        lib.llama_sampler_chain_add(chain, sampler)

    if sampling.repeat_penalty != 1.0:
        add(lib.llama_sampler_init_penalties(vocabulary, sampling.repeat_last, sampling.repeat_penalty, 0.0, 0.0))
    if sampling.temperature <= 0:
        add(lib.llama_sampler_init_greedy())
        return chain
    add(lib.llama_sampler_init_top_k(sampling.top_k))
    add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
    add(lib.llama_sampler_init_min_p(sampling.min_p, 1))
    add(lib.llama_sampler_init_temp(sampling.temperature))
    add(lib.llama_sampler_init_dist(_seed(sampling.seed)))
    return chain


def _seed(seed: int | None) -> int:
    if seed is not None:
        return seed & 0xFFFFFFFF
    import secrets

    return secrets.randbits(32)
