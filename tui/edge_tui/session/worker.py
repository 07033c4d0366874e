"""One background thread that runs the session's jobs in turn and hands their events over in order."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from edge.errors import EdgeError
from edge_tui.session.events import Error, Event, Found, Idle, Words

_DRAWING = 0.2
"""Seconds that the model waits for the drawing at most."""

_REST = 8.0
"""Seconds without a job after which the thread is idle."""

_NICE = 10
"""How far model and encoder stand back: with 0, keys wait up to 0.1 s for a core while an answer streams."""


class Worker:
    """Models and indexes live on this thread alone, from opening to closing.

    It is a daemon: somebody who quits while a model loads does not wait for it.
    """

    def __init__(self, idle: Callable[[Callable[[], bool]], bool] | None = None) -> None:
        """`idle` is called on the thread when nothing was asked for a while, and again as long as it returns True; it
        is told when it is to stop."""
        self._idle = idle
        self.events: deque[Event] = deque()
        self.drawn = threading.Event()
        """Set by the app when evidence stands on the screen: the model, which takes all cores, waits for it."""
        self._jobs: queue.SimpleQueue[Iterable[Event] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="edge-chat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Iterable[Event]) -> None:
        """Queue an iterator; consuming it, to its end, is the job. Nothing runs before `start`."""
        self._jobs.put(job)

    def drain(self) -> list[Event]:
        """Everything that happened since the last call; neighbouring words are joined into one event."""
        out: list[Event] = []
        words: list[str] = []
        for _ in range(len(self.events)):
            event = self.events.popleft()
            if isinstance(event, Words):
                words.append(event.text)
                continue
            if words:
                out.append(Words("".join(words)))
                words.clear()
            out.append(event)
        if words:
            out.append(Words("".join(words)))
        return out

    def close(self) -> None:
        """Let the thread end after the jobs that are queued now."""
        self._jobs.put(None)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; whether the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _next(self) -> Iterable[Event] | None:
        """The next job, waited for."""
        wait = None if self._idle is None else _REST
        while True:
            try:
                return self._jobs.get(timeout=wait)
            except queue.Empty:
                wait = None
                with suppress(Exception):  # nobody asked for it, and whoever asks next is told what is wrong
                    wait = 0.0 if self._idle is not None and self._idle(self._asked) else None

    def _asked(self) -> bool:
        return not self._jobs.empty()

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere niceness is a process's; threads that are begun here inherit it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (job := self._next()) is not None:
            try:
                for event in job:
                    self.drawn.clear()
                    self.events.append(event)
                    if isinstance(event, Found):
                        self.drawn.wait(_DRAWING)
            except EdgeError as error:
                self.events.append(Error(str(error)))
            except Exception as error:  # the last line of defence of a thread: without it the app would wait for ever
                self.events.append(
                    Error(f"Something unexpected happened ({type(error).__name__}: {error}); please report it.")
                )
            self.events.append(Idle())
