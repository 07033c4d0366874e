"""One question on its way through `Chat`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING

from edge.answer import Answer, Delta
from edge.types import Sampling, Usage
from edge_tui.rendering.answer import notes, number_sources, to_markdown
from edge_tui.rendering.sentence_marks import checked
from edge_tui.rendering.sources import Source
from edge_tui.session.events import Event, Finished, Found, FurtherPassages, Prefilling, Speed, Thinking, Words
from edge_tui.terminal import printable

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge_tui.session.state import SessionState


class AnswerJob:
    """Deltas in, events out, the clock running."""

    def __init__(self, chat: Chat, state: SessionState) -> None:
        self._chat = chat
        self._state = state
        self._started = perf_counter()
        self._first: float | None = None
        self._tokens = 0
        self.sources: tuple[Source, ...] = ()
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._thought: tuple[float, float] | None = None
        """When thinking began, and its latest word came."""

    def run(self, question: str, sampling: Sampling, stopped: Callable[[], bool]) -> Iterator[Event]:
        with closing(self._chat.stream(question, sampling=sampling)) as stream:
            for delta in stream:
                yield from self._events(delta)
                if delta.answer is not None:
                    return
                if stopped():
                    break
        self._state.answer = "".join(self._text)
        yield Finished(
            "cancelled",
            printable(self._state.answer),
            self.sources,
            ("Stopped",),
            self._speed(None),
            thinking=printable("".join(self._thinking)),
            thought=self._seconds_thought(),
        )

    def _events(self, delta: Delta) -> Iterator[Event]:
        if delta.evidence is not None:
            self.sources = number_sources(delta.evidence)
            yield Found(self.sources)
            if self.sources:
                self.sources = self._state.in_context(self.sources)
                yield Found(self.sources)
        if delta.prefill is not None:
            yield Prefilling(delta.prefill)
        if delta.further_passages is not None:
            self._thinking.clear()
            yield FurtherPassages(delta.further_passages)
        if delta.thinking:
            now = perf_counter()
            self._thought = (self._thought or (now, now))[0], now
            self._thinking.append(delta.thinking)
            self._tokens += 1
            yield Thinking(printable(delta.thinking))
        if delta.text:
            if self._first is None:
                self._first = perf_counter() - self._started
            self._tokens += 1
            self._text.append(delta.text)
            self._state.speed = self._speed(None)
            yield Words(printable(delta.text), delta.text)
        if delta.answer is not None:
            yield self._finish(delta.answer)

    def _finish(self, answer: Answer) -> Finished:
        sources = self._state.in_context(number_sources(answer.citations, self.sources))
        own = self._chat.knowledge is not None
        self._state.answer = answer.text
        self._state.speed = self._speed(answer.usage, answer.context_usage.limit)
        return Finished(
            answer.finish,
            to_markdown(answer, sources, mark_own=own),
            sources,
            notes(answer, mark_own=own),
            self._state.speed,
            checked(answer, sources) if own and answer.passages else (),
            answer.context_usage if answer.context_usage.limit else None,
            printable(answer.thinking),
            self._seconds_thought(),
            answer,
        )

    def _seconds_thought(self) -> float:
        return self._thought[1] - self._thought[0] if self._thought is not None else 0.0

    def _speed(self, usage: Usage | None, limit: int = 0) -> Speed:
        """Exact with the usage of a finished answer, from the clock until then."""
        limit = limit or self._state.speed.limit
        if usage is None:
            spent = perf_counter() - self._started - (self._first or 0.0)
            rate = (self._tokens - 1) / spent if self._tokens > 1 and spent > 0 else None
            before = self._state.speed
            return Speed(self._first, rate, before.used, limit, before.cached, self._tokens)
        seconds = usage.completion_seconds
        rate = usage.completion_tokens / seconds if seconds > 0 else None
        used = usage.prompt_tokens + usage.completion_tokens or self._state.speed.used
        return Speed(
            self._first, rate, used, limit, usage.cached_tokens, usage.completion_tokens, usage.restored_tokens
        )
