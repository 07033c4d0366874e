"""An engine without weights: it says what it was told to. For tests, demos and programs built on `edge`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, takewhile

from edge.engines.contract import Token, check_length
from edge.types import Adapter, Message, Prefill, Sampling

_PIECE = re.compile(r"\s*\S+|\s+$")


class ScriptedEngine:
    """Answers with `replies` in turn, or with `replies(prompt)`, a word a token.

    `delay` is seconds a token. A prompt's tokens are words too; the prefix that it shares with the prompt
    and reply before it, under the same adapter, counts as cached, as in a real engine.
    """

    def __init__(
        self,
        replies: Iterable[str] | Callable[[str], str] = ("I have nothing to say.",),
        *,
        context: int = 4096,
        delay: float = 0.0,
    ) -> None:
        self.context = context
        self.device = "a script"
        self.parameters: int | None = None
        self.prefill_rate = math.inf
        self.cache_error: str | None = None
        self.delay = delay
        self.prompts: list[str] = []
        self.adapters: dict[str, Adapter] = {}
        self._reply = replies if callable(replies) else _in_turn(replies)
        self._cached: tuple[Adapter | None, list[str]] = (None, [])

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        """A script thinks where its replies say so."""
        turns = "".join(f"<|{message.role}|>\n{message.content}\n" for message in messages)
        return f"{turns}<|assistant|>\n"

    def count(self, text: str) -> int:
        return len(_PIECE.findall(text))

    def add_adapter(self, adapter: Adapter) -> None:
        self.adapters[adapter.name] = adapter

    def remove_adapter(self, name: str) -> None:
        del self.adapters[name]

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        self.prompts.append(prompt)
        words = _PIECE.findall(prompt)
        check_length(len(words), self.context)
        key, before = self._cached
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(words, before, strict=False)))
        cached = min(shared, len(words) - 1) if key == adapter else 0
        yield Prefill(total=len(words), cached=cached, done=len(words))
        spoken: list[str] = []
        reply = _PIECE.findall(self._reply(prompt))
        try:
            for left, word in zip(range(sampling.max_tokens - 1, -1, -1), reply, strict=False):
                if self.delay:
                    time.sleep(self.delay)
                spoken.append(word)
                yield Token(word, None if left else "length")
                if not left:
                    return
            yield Token("", "stop")
        finally:
            self._cached = (adapter, words + spoken)

    def score(self, prompt: str, continuations: Sequence[str], adapter: Adapter | None) -> list[float]:
        """A script has no opinion: all are equally likely."""
        check_length(max(map(self.count, [prompt + continuation for continuation in continuations])), self.context)
        return [-math.log(len(continuations))] * len(continuations)

    def prefill_cache(
        self,
        prompt: str,
        adapter: Adapter | None,
        prefix_boundaries: Sequence[int],
        stopped: Callable[[], bool] | None = None,
    ) -> int | None:
        return None

    def save_kv_cache(self, beginning: str | None = None) -> bool:
        return False

    def close(self) -> None:
        self._cached = (None, [])


def _in_turn(replies: Iterable[str]) -> Callable[[str], str]:
    endless = cycle(replies)
    return lambda _prompt: next(endless)
