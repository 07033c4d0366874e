"""Processes that hold a chat in the real Session and report what they would have drawn, until they are killed.

`python -m support.chat.streaming FILE` forks one for every line of standard input, the number of its question, so that
only the first pays for the imports. Every report is a line of JSON: [kind, what].
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge.types import Sampling
from edge_tui.session.chat_history import LATEST, ChatHistory
from edge_tui.session.events import Finished, Found, Opened, Words
from edge_tui.session.session import Session
from support.chat.fakes import MANUAL, FakeIndex

WORDS = 40


def question(number: int) -> str:
    return f"What is number {number}?"


def reply(number: int) -> str:
    return " ".join(f"{number}-{at}" for at in range(WORDS))


def hold(path: Path, number: int) -> None:
    """Go on with the last chat, tell how it came back, then ask; ["drawn", text] for every piece on the screen."""
    model = Model(ScriptedEngine([reply(number)], context=1_000_000), name="tiny")
    session = Session(
        lambda: model,
        lambda: FakeIndex(MANUAL),
        sampling=Sampling(max_tokens=10_000),
        history=ChatHistory(path, reopen=LATEST),
    )
    for event in session.open():
        if isinstance(event, Opened):
            report("opened", [(turn.question.text, turn.answer.text) for turn in event.turns])
    loaded = threading.Event()
    session.load(lambda _event: loaded.set())
    loaded.wait()
    for event in session.ask(question(number)):
        if isinstance(event, Found):
            report("found", len(event.sources))
        elif isinstance(event, Words):
            report("drawn", event.text)
        elif isinstance(event, Finished):
            report("finished", event.markdown)
    threading.Event().wait()  # only a kill ends this process


def report(kind: str, what: object) -> None:
    os.write(1, f"{json.dumps([kind, what])}\n".encode())


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            hold(Path(sys.argv[1]), int(line))
        report("pid", pid)
        report("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
