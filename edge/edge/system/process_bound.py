"""What belongs to one process: objects that hold native memory, threads or files, after a fork and before a pickle."""

from __future__ import annotations

import os
from typing import NoReturn


class ProcessBound:
    """Cannot be pickled, copied or sent to another process: TypeError says what to do instead."""

    def __reduce_ex__(self, _protocol: object, /) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(
            f"{kind} cannot be pickled or copied: it holds memory, threads and files of this process; send paths to "
            "the other process and open them there"
        )


class Home:
    """The process in which something was made. A child that was forked has none of its threads."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def is_here(self) -> bool:
        return self._pid == os.getpid()

    def check(self, name: str, error: type[Exception]) -> None:
        """Raise `error` in a child that was forked."""
        if not self.is_here():
            raise error(
                f"{name} was opened before this process was forked, and its threads stayed behind; open it in the "
                "child, or start processes by spawn (multiprocessing.get_context('spawn'))"
            )
