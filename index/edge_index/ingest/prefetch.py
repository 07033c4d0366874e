"""Does work before it is asked for, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds after which a side looks whether the other one is still there."""


def prefetch(items: Iterable[T], most: int) -> Generator[T, None, None]:
    """`items` in their order, up to `most` of them made before they are taken.

    What making them raises is raised where the item would have come. Closing the iterator ends the thread.
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(most)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                queue.put((item, error), timeout=_POLL)
                return
            except Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # whatever it was, it is raised where the items are taken
            put(None, error)

    thread = threading.Thread(target=run, name="edge-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = queue.get(timeout=_POLL)
            except Empty:
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # None stands only beside an error, or is an item itself
    finally:
        stopped.set()
        thread.join()
