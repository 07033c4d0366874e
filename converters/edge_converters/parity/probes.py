"""The built-in and the user's prompts as tokens: replies that the candidate gives, texts, endings and long prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import ConversionError
from edge_converters.parity.candidate import Candidate, Generated
from edge_converters.parity.measure import Probe
from edge_converters.parity.prompts import ANSWERED, CONVERSATIONS, Conversation
from edge_converters.parity.texts import TEXTS, long_text
from edge_converters.parity.tokens import Original

REPLY = 32
"""Greedy tokens after a prompt."""
LENGTHS = (2112, 4160)
"""Tokens of the long prompts. What is compared lies past 2,047, where Phi-3-mini-4k's sliding window ends, and past
4,096, where LongRoPE takes its long factors."""
_AT_BOUNDARY = 64


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """How far a model sees: its `longest` prompt, the length from which LongRoPE takes its long factors if it has
    any, its sliding `window` if it has one.
    """

    longest: int
    longrope_boundary: int | None
    window: int | None


def context_limits(config: Mapping[str, Any]) -> ContextLimits:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    longrope_boundary = config.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings")
    return ContextLimits(
        longest=int(config.get("max_position_embeddings") or 2048),
        longrope_boundary=int(longrope_boundary) if longrope_boundary and kind in ("longrope", "su") else None,
        window=int(config["sliding_window"]) if config.get("sliding_window") else None,
    )


def replies(
    original: Original,
    candidate: Candidate,
    conversations: Sequence[Conversation],
    longest: int,
    advance: Callable[[int, int], None],
) -> tuple[list[Probe], list[Generated]]:
    """The candidate's greedy reply to every conversation, and what it generated."""
    prompts = [original.tokens(original.renderings(conversation.messages)[0]) for conversation in conversations]
    for number, prompt in enumerate(prompts, 1 - len(CONVERSATIONS)):
        if number > 0 and len(prompt) + REPLY > longest:
            raise ConversionError(
                f"prompt {number} of your file has {len(prompt):,} tokens and the model sees {longest:,}; shorten it"
            )
    kept = [(c, prompt) for c, prompt in zip(conversations, prompts, strict=True) if len(prompt) + REPLY <= longest]
    generated = candidate.replies([prompt for _, prompt in kept], REPLY, lambda done: advance(done, len(kept)))
    probes = []
    for (conversation, prompt), reply in zip(kept, generated, strict=True):
        tokens = (*prompt, *reply.tokens)
        probes.append(Probe(_name(conversation), "reply", tokens, tuple(range(len(prompt) - 1, len(tokens) - 1))))
    return probes, generated


def fixed(original: Original, longest: int) -> list[Probe]:
    """Texts, every position of which is compared, and complete replies, of which the last is."""
    probes = []
    for text in TEXTS:
        # onnxruntime-genai wants a free place behind what it computes.
        tokens = tuple(original.tokens_of_text(text)[: longest - 1])
        probes.append(Probe(text[:40], "text", tokens, tuple(range(len(tokens) - 1))))
    for conversation in ANSWERED:
        prompt = original.tokens(original.renderings(conversation.messages)[0])
        tokens = (*prompt, *original.tokens(conversation.answer or ""))
        if len(tokens) < longest:
            probes.append(Probe(_name(conversation), "end", tokens, (len(tokens) - 1,)))
    return probes


def long(original: Original, context: ContextLimits, lengths: Sequence[int]) -> list[Probe]:
    """One text as long as the model allows; with LongRoPE, whose factors go by the length, one of every length."""
    allowed = [length for length in sorted(lengths) if length <= context.longest]
    if context.longrope_boundary is None:
        allowed = allowed[-1:]
    if not allowed:
        return []
    tokens, sentences = original.tokens_of_text(long_text(allowed[-1] // 8)), allowed[-1] // 8
    while len(tokens) < allowed[-1]:
        sentences *= 2
        tokens = original.tokens_of_text(long_text(sentences))
    return [
        Probe(f"{length:,} tokens", "long", tuple(tokens[:length]), _past_boundaries(length, lengths))
        for length in allowed
    ]


def _past_boundaries(length: int, lengths: Sequence[int]) -> tuple[int, ...]:
    """Positions right before each of the lengths that a text of `length` tokens reaches."""
    ends = [end for end in sorted(lengths) if end <= length]
    return tuple(sorted({position for end in ends for position in range(max(0, end - _AT_BOUNDARY), end - 1)}))


def _name(conversation: Conversation) -> str:
    return conversation.messages[-1]["content"][:40]
