"""The thread on which models and indexes live."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from edge_tui.session.events import Event
from edge_tui.session.worker import Worker


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness is a process's")
def test_what_works_stands_back_behind_what_draws() -> None:
    nice: list[int] = []

    def look() -> None:
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def job() -> Iterator[Event]:
        look()
        helper = threading.Thread(target=look)  # as the threads of a model or an encoder are begun
        helper.start()
        helper.join()
        yield from ()

    worker = Worker()
    worker.submit(job())
    worker.close()
    worker.start()
    assert worker.join(20)
    look()
    works, helps, draws = nice
    assert works == helps > draws
