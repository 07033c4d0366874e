"""llama.cpp's sampler chain for one reply: penalties, grammar, and how a token is drawn."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from edge.engines.grammar import grammar_of
from edge.errors import UsageError
from edge.types import Sampling


def sampler_chain(lib: ModuleType, vocab: Any, sampling: Sampling) -> Any:
    """A chain that the caller frees. Raises UsageError for a schema that no grammar expresses."""
    grammar = None
    if sampling.schema is not None:
        grammar = lib.llama_sampler_init_grammar(vocab, grammar_of(sampling.schema).encode(), b"root")
        if not grammar:
            raise UsageError("llama.cpp cannot follow the grammar of this response_format; simplify the schema")
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        lib.llama_sampler_chain_add(chain, sampler)

    if grammar is not None:
        add(grammar)
    if sampling.repeat_penalty != 1.0:
        vocabulary = lib.llama_vocab_n_tokens(vocab)
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
