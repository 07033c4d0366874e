"""Functions that test_host_process.py has run by a child process, which must be able to import them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from edge.errors import ContextOverflow, MissingExtra
from edge.system.own_process import in_own_process


@in_own_process
def work(word: str, *, progress: Callable[[str, int], str], **options: Any) -> dict[str, Any]:
    """What a function sees that runs where no host is."""
    print("to nobody")
    return {"pid": os.getpid(), "environment": dict(os.environ), "said": progress(word, 3), **options}


@in_own_process
def fail(error: str) -> None:
    if error == "overflow":
        raise ContextOverflow("too long", needed=9, limit=4)
    if error == "extra":
        raise MissingExtra("peft", "convert")
    if error == "bug":
        raise ZeroDivisionError("a bug")
    os.kill(os.getpid(), 9)
