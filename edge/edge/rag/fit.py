"""A prompt that fits into the context: what has no room is left out, and that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import ContextOverflow
from edge.log import logger
from edge.model import Model
from edge.rag.prompts import is_small, numbered, turn
from edge.types import ContextUsage, Dropped, Evidence, Message, Passage

_log = logger("chat")


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The messages to send, the passages among them, and where the context went. `forgotten` messages of the history
    had no room."""

    prompt: list[Message]
    passages: list[Passage]
    usage: ContextUsage
    forgotten: int


def fit_prompt(
    model: Model,
    system: Sequence[Message],
    history: Sequence[Message],
    question: str,
    passages: Sequence[Passage],
    evidence: Sequence[Evidence],
    *,
    max_tokens: int,
    think: bool,
) -> FittedPrompt:
    """The prompt for a question of a conversation, with room for a reply of `max_tokens` or a quarter of the context.

    What does not fit goes in this order: the older half of the history, until none is left, then passages
    from the last. Half at a time, because every cut costs the KV cache of all that follows it. Raises ContextOverflow
    for a question that cannot fit.
    """
    limit, small = model.context, is_small(model.parameters)
    reserved = min(max_tokens, max(1, limit // 4))
    left, read = list(history), list(passages)
    dropped: list[Dropped] = []
    while True:
        prompt = [*system, *left, Message("user", turn(question, read, evidence, small=small))]
        needed = model.count(model.render(prompt, think=think)) + reserved
        if needed <= limit:
            break
        if left:
            turns = (len(left) // 2 + 1) // 2
            dropped.append(Dropped(f"{turns} earlier turns", sum(model.count(m.content) for m in left[: 2 * turns])))
            del left[: 2 * turns]
        elif read:
            last = read.pop()
            name = f"passage {last.document}:{last.start}-{last.end}"
            dropped.append(Dropped(name, model.count(numbered(len(read) + 1, last))))
        else:
            raise _overflow(needed, reserved, limit)
    _log_dropped(dropped, limit)
    usage = _usage(model, prompt, left, question, needed=needed, reserved=reserved, dropped=tuple(dropped))
    return FittedPrompt(prompt, read, usage, len(history) - len(left))


def _usage(
    model: Model,
    prompt: Sequence[Message],
    history: Sequence[Message],
    question: str,
    *,
    needed: int,
    reserved: int,
    dropped: tuple[Dropped, ...],
) -> ContextUsage:
    asked = model.count(question)
    passages = max(0, model.count(prompt[-1].content) - asked)
    earlier = sum(model.count(message.content) for message in history)
    # The template's own tokens are booked with the system text.
    system = needed - reserved - earlier - passages - asked
    return ContextUsage(model.context, system, earlier, passages, asked, reserved, dropped)


def _overflow(needed: int, reserved: int, limit: int) -> ContextOverflow:
    return ContextOverflow(
        f"the question needs {needed:,} tokens with {reserved:,} reserved for the reply, and the context "
        f"holds {limit:,}; shorten it, lower max_tokens or load the model with a larger context",
        needed=needed,
        limit=limit,
    )


def _log_dropped(dropped: Sequence[Dropped], limit: int) -> None:
    if dropped:
        halves = sum(one.what.endswith("turns") for one in dropped)
        _log.info(
            "the context of %d tokens was full: the history was cut %d times and %d passages were left out",
            *(limit, halves, len(dropped) - halves),
        )
