"""A program that embeds edge: test_host_process.py runs this script as a process of its own and reads what it prints.

It notes everything about its process that a library may change, uses edge, and notes it again.
"""

from __future__ import annotations

import json
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np


def state() -> dict[str, object]:
    umask = os.umask(0)
    os.umask(umask)
    root = logging.getLogger()
    return {
        "environment": dict(os.environ),
        "signals": {name.name: repr(signal.getsignal(name)) for name in signal.Signals},
        "hooks": [repr(hook) for hook in (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook)],
        "warnings": [repr(entry) for entry in warnings.filters],
        "logging": [repr(root.handlers), root.level, logging.root.manager.disable, repr(logging.lastResort)],
        "umask": umask,
        "folder": os.getcwd(),
        "locale": [locale.setlocale(category) for category in (locale.LC_CTYPE, locale.LC_NUMERIC, locale.LC_TIME)],
        "start": multiprocessing.get_start_method(allow_none=True),
        "random": [hash(random.getstate()), repr(np.random.get_state())],
        "streams": [id(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "path": list(sys.path),
        "descriptors": _open_files(),
        "recursion": [sys.getrecursionlimit(), sys.getswitchinterval()],
    }


def _open_files() -> list[str]:
    """What the descriptors stand for; llama-cpp-python keeps two of the null device from its import on."""
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):
        return []
    found = [os.path.realpath(os.path.join(folder, name)) for name in os.listdir(folder)]
    return sorted(name for name in found if name != os.devnull and not name.startswith("/proc/"))


def ask(model: str, documents: str, index: str) -> None:
    import edge
    from edge_index import Index
    from edge_index.loaders import close

    with edge.load(model, kv_budget=0) as loaded, Index.open(index) as opened:
        opened.add([documents])
        encoder = opened.encoder
        answer = edge.Chat(loaded, knowledge=opened).ask("What is the seal made of?")
        assert answer.evidence, answer
    encoder.close()  # type: ignore[attr-defined]
    close()


def prove(base: str, out: str) -> None:
    import edge_converters

    edge_converters.to_gguf(Path(base), Path(out), verify=False)
    heard = []
    report = edge_converters.check_parity(
        Path(out), base=Path(base), lengths=(), progress=lambda stage, *_: heard.append(stage)
    )
    assert report.passed, report
    assert "replies" in heard


USES: dict[str, Callable[..., None]] = {"ask": ask, "prove": prove}

if __name__ == "__main__":
    if sys.argv[1] == "prove":
        import torch  # noqa: F401 - adds warning filters of its own when it is imported, by whomever
    before = state()
    USES[sys.argv[1]](*sys.argv[2:])
    after = state()
    print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))
