"""What holds files or native memory, and must not be used after its close, not even by the thread that comes last."""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar, Self

from edge.errors import KnowledgeError
from edge.system.process_bound import Home, ProcessBound


class Closable(ProcessBound, ABC):
    """Guards every public method and property of a class that inherits from it: after `close`, and in a forked child,
    they raise its `closed_error`, and `close` waits for those that are being executed. The class frees what it holds in
    `_free`.
    """

    closed_error: ClassVar[type[KnowledgeError]] = KnowledgeError
    _condition: threading.Condition
    _inside: Counter[int]
    """By thread, how many guarded calls are being executed."""
    _freed: bool
    _home: Home
    closed: bool
    """Whether `close` was called."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        made = super().__new__(cls)
        made._condition = threading.Condition()
        made._inside = Counter()
        made._home = Home()
        made.closed = made._freed = False
        return made

    def __init_subclass__(cls) -> None:
        for name, member in list(vars(cls).items()):
            if name.startswith("_") and name != "__len__":
                continue
            if isinstance(member, FunctionType):
                setattr(cls, name, _guarded(member))
            elif isinstance(member, property) and member.fget is not None:
                setattr(cls, name, property(_guarded(member.fget), member.fset, doc=member.__doc__))

    def close(self) -> None:
        """Free what is held, when the calls that are being executed are done; may be called twice."""
        if not self._home.is_here():
            return  # a forked child: what is held belongs to its parent
        with self._condition:
            if threading.get_ident() in self._inside:
                raise self.closed_error(f"{self._name()} is at work in this very call; close it when that is done")
            self.closed = True
            while self._inside:
                self._condition.wait()
            if not self._freed:
                self._freed = True
                self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter(self) -> None:
        self._home.check(self._name(), self.closed_error)
        thread = threading.get_ident()
        with self._condition:
            if self.closed and thread not in self._inside:
                raise self.closed_error(f"{self._name()} is closed; open it again")
            self._inside[thread] += 1

    def _leave(self) -> None:
        thread = threading.get_ident()
        with self._condition:
            self._inside[thread] -= 1
            if not self._inside[thread]:
                del self._inside[thread]
                self._condition.notify_all()

    def _name(self) -> str:
        """What an error calls it."""
        return f"this {type(self).__name__}"

    @abstractmethod
    def _free(self) -> None:
        """Free what is held; called once."""


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(self: Closable, /, *args: Any, **options: Any) -> Any:
        self._enter()
        try:
            return function(self, *args, **options)
        finally:
            self._leave()

    return guarded
