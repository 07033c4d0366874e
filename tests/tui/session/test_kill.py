"""kill -9 in the middle of an answer: nothing that was on the screen is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edge_tui.history.store import Store
from support.chat import streaming

KILLS = 100


@contextmanager
def streamer(path: Path) -> Iterator[subprocess.Popen[str]]:
    tests = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "support.chat.streaming", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), *filter(None, sys.path)])},
    )
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def killed(process: subprocess.Popen[str], number: int, pieces: int) -> tuple[str, list[tuple[str, str]]]:
    """Have question `number` asked, kill when so many pieces were drawn; what was drawn, and what came back before."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    print(number, file=stdin, flush=True)
    pid, seen, drawn, opened = 0, -1, "", []
    for kind, what in _reports(stdout):
        if kind == "pid":
            pid = what
        elif kind == "opened":
            opened = [(question, text) for question, text in what]
        elif kind == "ended":
            assert what == -signal.SIGKILL
            break
        elif kind == "drawn":
            drawn += what
        seen += kind in ("found", "drawn", "finished")
        if seen >= pieces and pid:
            os.kill(pid, signal.SIGKILL)
            pid = 0
    return drawn, opened


def _reports(lines: IO[str]) -> Iterator[tuple[str, object]]:
    for line in lines:
        kind, what = json.loads(line)
        yield kind, what


def test_a_hundred_kills_at_random_points_lose_nothing_that_was_drawn(tmp_path: Path) -> None:
    """Each process goes on with the chat that the one before it was killed in, and is killed after a random piece."""
    chance = random.Random(6)
    path = tmp_path / "chats.sqlite"
    before: list[tuple[str, str, str]] = []
    with streamer(path) as process:
        for number in range(KILLS):
            drawn, opened = killed(process, number, chance.randrange(streaming.WORDS + 2))
            assert opened == [(question, text) for question, text, _ in before]
            with Store(path) as store:
                (entry,) = store.chats()
                *earlier, last = store.turns(entry.id)
            assert [(turn.question.text, turn.answer.text, turn.answer.state) for turn in earlier] == before
            assert last.question.text == streaming.question(number)
            assert last.answer.text.startswith(drawn)
            assert streaming.reply(number).startswith(last.answer.text)
            assert last.answer.found == 2
            if last.answer.state != "partial":
                assert (last.answer.state, last.answer.text) == ("complete", streaming.reply(number))
            if last.answer.text:
                assert last.question.sent is not None
                assert last.question.sent.endswith(f"Question: {streaming.question(number)}")
            before.append((last.question.text, last.answer.text, last.answer.state))
    cut = [text for _, text, state in before if state == "partial"]
    assert len(cut) > KILLS // 2, "the kills came too late to prove anything"
    assert len(set(map(len, cut))) > 20
