"""What the model reads while nobody asks: the documents' passages, so that answers begin at once later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.types import Passage
from edge_tui.session.prewarm_order import Budget, Passages, wanted

if TYPE_CHECKING:
    from edge.chat import Chat


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` passages are read."""

    done: int
    total: int


class Prewarmer:
    """Reads a passage at a time, as far as `budget`, in bytes, goes."""

    def __init__(self, budget: int) -> None:
        self._size = budget
        self._budget = Budget(budget)
        self._key: object = None
        self._passages: Iterator[Passage] = iter(())
        self._next: Passage | None = None
        self.progress: Progress | None = None
        """None unless there is more to read."""

    def wants(self, key: object, index: object) -> bool:
        """Whether there is more of `index` to read. `key` is everything that makes what was read worthless when it
        changes: then it begins again."""
        if key != self._key:
            self._key, self._budget = key, Budget(self._size)
            self._next = self.progress = None
            if self._size and isinstance(index, Passages):
                self._passages = wanted(index)
                self._next = next(self._passages, None)
                self.progress = Progress(0, sum(document.passages for document in index.documents()))
        if self._next is None or self._budget.used_up:
            self.progress = None
        return self.progress is not None

    def read(self, chat: Chat, stopped: Callable[[], bool]) -> None:
        """Read the next passage, unless `stopped`, which is asked many times; it comes again then."""
        if self._next is None or self.progress is None:
            return
        size = chat.prefill_cache(self._next, stopped)
        if size is not None:
            self._budget.take(size)
            self._next = next(self._passages, None)
            more = self._next is not None and not self._budget.used_up
            self.progress = Progress(self.progress.done + 1, self.progress.total) if more else None
        elif not stopped():  # no room, an engine that keeps none, or weights whose checksum is not known yet
            self._key = self.progress = None
