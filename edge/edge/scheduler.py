"""One engine and many callers, served in the order in which they came.

There is no thread of its own: whoever waits computes. A caller whose turn has not come yet runs the steps of the one
that is served, whose results wait for it, until the turn passes on. So a reply that nobody goes on reading holds
nobody up, and neither does a pool whose threads all wait; with a single caller nothing is between it and the engine.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from edge.errors import ModelBusy, ModelError
from edge.log import logger
from edge.system.process_bound import Home

T = TypeVar("T")

_log = logger("queue")

_WORTH_A_WORD = 0.1
"""Seconds of waiting that the log tells of."""


class _Request(Generic[T]):
    """Someone's place in the queue. `start` makes the steps, which any thread may run; None: its own thread wants the
    engine for itself."""

    def __init__(self, lock: threading.RLock, start: Callable[[], Iterator[T]] | None = None) -> None:
        self.start = start
        self.steps: Iterator[T] | None = None
        self.results: deque[T] = deque()
        self.entered = self.begun = self.ended = self.cancelled = False
        self.waiting = 0
        """Threads that wait for it."""
        self.error: BaseException | None = None
        self.wake = threading.Condition(lock)

    def step(self) -> None:
        """Compute one result. What goes wrong is kept for the one who asked."""
        try:
            if self.steps is None:
                assert self.start is not None
                self.steps = self.start()
            self.results.append(next(self.steps))
        except StopIteration:
            self.ended = True
        except Exception as error:
            self.ended, self.error = True, error

    def end(self, error: BaseException | None = None) -> None:
        if not self.ended:
            self.ended, self.error = True, error
        close = getattr(self.steps, "close", None)
        if close is not None:
            close()


class Stream(Generator[T, None, None]):
    """What a request gives, step by step. `close`, from any thread, cancels it, and so does dropping it."""

    def __init__(self, scheduler: Scheduler, request: _Request[T]) -> None:
        self._scheduler = scheduler
        self._request = request

    def send(self, _value: None = None, /) -> T:
        return self._scheduler.result_of(self._request)

    def throw(self, kind: Any, value: Any = None, trace: TracebackType | None = None, /) -> T:
        self.close()
        return super().throw(kind, value, trace)

    def close(self) -> None:
        self._scheduler.cancel(self._request)

    def __del__(self) -> None:
        self._scheduler.abandon(self._request)

    async def __aiter__(self) -> AsyncIterator[T]:
        """For asyncio: every step is computed in a thread, so that the loop goes on meanwhile."""
        import asyncio

        end = object()
        try:
            while (result := await asyncio.to_thread(next, self, end)) is not end:
                yield cast(T, result)
        finally:
            self.close()


class Scheduler:
    """The queue for what is called `name`. Safe to use from several threads.

    `timeout`: seconds after which somebody who waits for a turn gets a ModelBusy instead; None waits for ever.
    """

    def __init__(self, name: str, timeout: float | None = None) -> None:
        self.name = name
        self.timeout = timeout
        self._lock = threading.RLock()
        self._queue: deque[_Request[Any]] = deque()
        self._at_work: int | None = None
        """The thread that runs a step of the first request, which stays the first one meanwhile."""
        self._readers = 0
        self._idle = threading.Condition(self._lock)
        self.closed = False
        self._freed = False
        self._home = Home()

    def stream(self, start: Callable[[], Iterator[T]]) -> Stream[T]:
        """What the iterator that `start` makes yields; it gets its place in the queue when it is first asked for
        something. Closing it, or dropping it, closes that iterator."""
        self.check_open()
        return Stream(self, _Request(self._lock, start))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """The engine for the calling thread alone, when its turn has come."""
        request: _Request[None] = _Request(self._lock)
        self._refuse_nesting()
        try:
            self._run(request)
            if request.error is not None:
                raise request.error
            yield
        finally:
            request.cancelled = True
            self._leave(request)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For what may run beside a step, and not after `close`."""
        self.check_open()
        with self._lock:
            self.check_open()
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                self._idle.notify_all()

    def check_open(self) -> None:
        self._home.check(self.name, ModelError)
        if self.closed:
            raise ModelError(f"{self.name} is closed; load it again")

    def close(self, free: Callable[[], None]) -> None:
        """End everybody's requests and call `free`, once. A step that runs is waited for, no whole reply is."""
        if not self._home.is_here():
            return  # a forked child: the locks and the memory are its parent's
        self._refuse_nesting()
        with self._lock:
            self.closed = True
            self._end_all(f"{self.name} was closed before this was complete")
            while self._readers:
                self._idle.wait()
            if not self._freed:
                self._freed = True
                free()

    def end_all(self, reason: str) -> None:
        """End everybody's requests with a ModelError that gives the reason; a step that runs is waited for."""
        self._refuse_nesting()
        with self._lock:
            self._end_all(reason)

    # For streams --------------------------------------------------------------------------------------------

    def result_of(self, request: _Request[T]) -> T:
        """The next result; StopIteration after the last one and after a cancel."""
        self._refuse_nesting()
        try:
            self._run(request)
        finally:
            self._leave(request)
        if request.results:
            return request.results.popleft()
        error, request.error = request.error, None
        raise error or StopIteration

    def cancel(self, request: _Request[T]) -> None:
        request.cancelled = True
        if not self._home.is_here():
            return
        with self._lock:
            request.results.clear()
            request.wake.notify_all()
            self._pass_on()

    def abandon(self, request: _Request[T]) -> None:
        """As `cancel`, for the garbage collector, which may come anywhere and must not wait: where another thread has
        the lock, that one finds out."""
        request.cancelled = True
        if self._home.is_here() and self._lock.acquire(blocking=False):
            try:
                self._pass_on()
            finally:
                self._lock.release()

    # Inside -------------------------------------------------------------------------------------------------

    def _run(self, mine: _Request[T]) -> None:
        """Wait, and compute meanwhile what stands before it, until `mine` has a result or the engine for itself."""
        began, at_work = monotonic(), 0.0
        deadline = None if self.timeout is None else began + self.timeout
        try:
            while (job := self._next_job(mine, deadline)) is not None and job.start is not None:
                stepped = monotonic()
                job.step()
                at_work += monotonic() - stepped
                self._note(job)
            waited = monotonic() - began - at_work
            if waited >= _WORTH_A_WORD:
                _log.debug("%s: %.1f s were waited for others", self.name, waited)
        except BaseException as error:
            self._give_up(mine, error)
            raise

    def _next_job(self, mine: _Request[Any], deadline: float | None) -> _Request[Any] | None:
        """The request that this thread is to serve now; None once `mine` needs nothing any more."""
        with self._lock:
            if not (mine.entered or mine.cancelled):
                self.check_open()
                mine.entered = True
                self._queue.append(mine)
            while not (mine.results or mine.ended or mine.cancelled):
                self._drop_cancelled()
                job = self._queue[0] if self._at_work is None else None
                left = None if job is mine or mine.begun or deadline is None else self._time_left(deadline)
                if job is not None and (job is mine or job.start is not None):
                    self._at_work = threading.get_ident()
                    job.begun = True
                    return job
                self._wait(mine, left)
        return None

    def _time_left(self, deadline: float) -> float:
        left = deadline - monotonic()
        if left <= 0:
            waiting = sum(not request.begun for request in self._queue)
            raise ModelBusy(
                f"{self.name} is busy: no turn came within {self.timeout:g} seconds, and {waiting} wait for one; "
                "try again later",
                waiting=waiting,
            )
        return left

    def _wait(self, mine: _Request[Any], seconds: float | None) -> None:
        mine.waiting += 1
        try:
            mine.wake.wait(seconds)
        finally:
            mine.waiting -= 1

    def _note(self, job: _Request[Any]) -> None:
        """A step of it is done."""
        with self._lock:
            self._at_work = None
            if job.ended:
                self._drop(job)
            job.wake.notify_all()
            self._idle.notify_all()

    def _give_up(self, mine: _Request[Any], error: BaseException) -> None:
        """The caller waits no longer; where Ctrl-C met it in the step of another one, that one is told."""
        with self._lock:
            mine.cancelled = True
            if self._at_work == threading.get_ident():
                job = self._queue[0]
                if job is not mine:
                    why = f"this reply of {self.name} was interrupted by {type(error).__name__}; ask again"
                    job.end(ModelError(why))
                self._note(job)

    def _leave(self, mine: _Request[Any]) -> None:
        """Back to the caller."""
        with self._lock:
            if self._at_work == threading.get_ident():
                self._at_work = None
            self._pass_on()

    def _pass_on(self) -> None:
        """Wake the one who goes on: the first in the queue, if it waits, or whoever may compute for it."""
        self._drop_cancelled()
        if self._at_work is None:
            self._idle.notify_all()
            helper = next((request for request in self._queue if request.waiting), None)
            if helper is not None:
                helper.wake.notify()

    def _drop_cancelled(self) -> None:
        """Not the first one while a step of it runs: whoever runs it drops it."""
        for request in list(self._queue):
            if request.cancelled and (self._at_work is None or request is not self._queue[0]):
                self._drop(request)

    def _drop(self, request: _Request[Any]) -> None:
        request.end()
        with suppress(ValueError):
            self._queue.remove(request)

    def _end_all(self, reason: str) -> None:
        theirs = list(self._queue)
        for request in theirs:
            if not request.ended:
                request.ended, request.error = True, ModelError(reason)
            request.wake.notify_all()
        while self._at_work is not None:
            self._idle.wait()
        for request in theirs:
            self._drop(request)

    def _refuse_nesting(self) -> None:
        self._home.check(self.name, ModelError)
        if self._at_work == threading.get_ident():
            raise ModelError(f"{self.name} is at work in this very call; ask when it is done")
