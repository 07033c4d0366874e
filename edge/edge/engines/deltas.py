"""What engines say, token by token, as the deltas of a stream: cut at stop strings, with its usage."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from edge.answer import Delta
from edge.engines.contract import Token
from edge.types import Finish, Prefill, Usage


def deltas(events: Iterator[Prefill | Token], stops: tuple[str, ...]) -> Iterator[Delta]:
    """Engine events -> deltas: cuts at stop strings and keeps the books. Only the engine's own time counts."""
    prefill = Prefill(0, 0, 0)
    prompt_seconds = completion_seconds = 0.0
    completion_tokens = 0
    held = ""
    finish: Finish = "stop"
    try:
        while True:
            started = perf_counter()
            event = next(events, None)
            spent = perf_counter() - started
            if event is None:
                break
            if isinstance(event, Prefill):
                prefill = event
                prompt_seconds += spent
                yield Delta(prefill=event)
                continue
            completion_seconds += spent
            completion_tokens += 1 if event.finish != "stop" else 0
            if event.thinking:
                yield Delta(thinking=event.thinking)
            held += event.text
            cut = min((at for at in (held.find(stop) for stop in stops if stop) if at >= 0), default=-1)
            if cut >= 0:
                held = held[:cut]
                break
            if event.finish is not None:
                finish = event.finish
                break
            ready = len(held) - _possible_stop(held, stops)
            if ready > 0:
                yield Delta(text=held[:ready])
                held = held[ready:]
        if held:
            yield Delta(text=held)
        usage = Usage(
            prefill.total, prefill.cached, completion_tokens, prompt_seconds, completion_seconds, prefill.restored
        )
        yield Delta(finish=finish, usage=usage)
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _possible_stop(text: str, stops: tuple[str, ...]) -> int:
    """The length of the longest end of `text` with which a stop string begins."""
    longest = min(len(text), max((len(stop) - 1 for stop in stops), default=0))
    for size in range(longest, 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return size
    return 0
