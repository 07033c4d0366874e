"""Several processes at one file of chats and one index, some of them killed: is everything there that was acknowledged?

A process of `work` says on a line of standard output what it is about to bring about, does it, and says that it is
done. `run` starts such processes, kills them with SIGKILL, and holds what is in the files in the end against what was
said.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.errors import EdgeError, KnowledgeError, StorageError
from edge_index import Index
from edge_index.vectors import search
from edge_tui.history.records import ChatMessage, Damaged, Turn, now
from edge_tui.history.store import Store
from index_fakes import WordEncoder

CHATS, INDEX, DOCS = "chats.sqlite", "index", "docs"


def small_parts() -> None:
    """Files of vectors and graphs from a few passages on, so that several processes make them beside each other."""
    search.SMALLEST, search.TAIL, search._UNSAVED, search._BULK = 60, 20, 5, 60


class Worker:
    """Does this and that with chats and documents of its own, and reads those of others."""

    def __init__(self, folder: Path, name: str, seed: int) -> None:
        self._folder = folder
        self._name = name
        self._random = random.Random(seed)
        self._number = 0
        self._docs: list[Path] = []
        self._chats: list[int] = []
        self._open()

    def _open(self) -> None:
        self._store = Store(self._folder / CHATS)
        self._index = Index.open(self._folder / INDEX, encoder=WordEncoder())

    def work(self) -> None:
        """For ever, until it is killed or standard input ends."""
        (self._folder / DOCS / self._name).mkdir(parents=True)
        threading.Thread(target=_end_with_input, daemon=True).start()
        jobs = [self._talk, self._talk, self._add, self._add, self._change, self._forget, self._look, self._reopen]
        while True:
            job = self._random.choice(jobs)
            try:
                job()
            except Damaged as error:
                say("trouble", job.__name__, str(error))
            except (StorageError, KnowledgeError) as error:  # another one was in the way: nothing was acknowledged
                say("refused" if "another" in str(error) else "trouble", job.__name__, str(error))
            except EdgeError as error:
                say("trouble", job.__name__, repr(error))

    def _next(self, what: str) -> str:
        self._number += 1
        return f"{what}-{self._name}-{self._number}"

    def _talk(self) -> None:
        title = self._next("chat")
        text = "begin "
        say("will", title, text)
        number = self._store.create(title)
        question = ChatMessage("user", f"what of {title}?", now())
        turn = self._store.put(number, Turn(question, ChatMessage("assistant", text, now(), state="partial")))
        say("done", title, text)
        for piece in range(self._random.randrange(12)):
            text += f"word{piece} "
            say("will", title, text)
            self._store.append(turn.answer.id, piece, f"word{piece} ")
            say("done", title, text)
        if self._random.random() < 0.7:
            text += "end"
            say("will", title, text)
            self._store.put(number, replace(turn, answer=replace(turn.answer, text=text, state="complete")))
            self._store.settle()
            say("done", title, text)
        if self._random.random() < 0.2:
            say("will", title, None)
            self._store.remove([number])
            say("done", title, None)

    def _add(self) -> None:
        path = self._folder / DOCS / self._name / f"{self._next('doc')}.txt"
        self._write(path)
        self._docs.append(path)

    def _change(self) -> None:
        if self._docs:
            self._write(self._random.choice(self._docs))

    def _write(self, path: Path) -> None:
        token = self._next("token").replace("-", "")
        path.write_text(f"The pump of {token} has a green seal.\n\n" * self._random.randrange(1, 4))
        say("will", str(path), token)
        report = self._index.add([path], wait=30, again=True)
        if report.failed:
            say("trouble", "add", str(report.failed))
        say("done", str(path), token)

    def _forget(self) -> None:
        if self._docs:
            path = self._docs.pop(self._random.randrange(len(self._docs)))
            say("will", str(path), None)
            self._index.remove(path, wait=30)
            say("done", str(path), None)

    def _look(self) -> None:
        with Store(self._folder / CHATS) as visit:
            visit.tidy()
            visit.search("word1")
            for entry in visit.chats()[:5]:
                visit.turns(entry.id)
        self._index.search("green seal pump", 3)
        if self._random.random() < 0.1 and (wrong := self._index.check()):
            say("trouble", "check", str(wrong))
        say("read", "", "")

    def _reopen(self) -> None:
        self._store.close()
        self._index.close()
        self._open()
        say("read", "", "")


def say(kind: str, key: str, value: str | None) -> None:
    os.write(1, json.dumps([kind, key, value]).encode() + b"\n")


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


@dataclass
class Result:
    """What came of it. `lost` names what was acknowledged and is not there, `wrong` what checks complain of."""

    seconds: float = 0
    processes: int = 0
    kills: int = 0
    operations: int = 0
    refused: int = 0
    chats: int = 0
    documents: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s, {self.processes} processes, {self.kills} kills, {self.operations:,} acknowledged "
            f"operations, {self.refused} refused; in the end {self.chats:,} chats and {self.documents:,} documents; "
            f"lost {len(self.lost)}, wrong {len(self.wrong)}"
        )


class _Book:
    """What was said: of each key what it must be by now, or may be where an end was not told."""

    def __init__(self) -> None:
        self.may_be: defaultdict[str, list[str | None]] = defaultdict(lambda: [None])
        self.count: Counter[str] = Counter()
        self.trouble: list[str] = []
        self._lock = threading.Lock()

    def note(self, line: bytes) -> None:
        kind, key, value = json.loads(line)
        with self._lock:
            self.count[kind] += 1
            if kind == "will":
                self.may_be[key].append(value)
            elif kind == "done":
                self.may_be[key] = [value]
            elif kind == "trouble":
                self.trouble.append(f"{key}: {value}")


class _Process:
    def __init__(self, folder: Path, name: str, seed: int, book: _Book) -> None:
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), name, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        self._book = book
        self.said = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                self._book.note(line)
                self.said += 1

    def end(self, number: int | None) -> None:
        """Kill it with a signal, or with None let it end by itself; what it still said counts."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if number is not None:
            process.send_signal(number)
        process.stdin.close()
        trouble = process.stderr.read().decode()
        process.wait()
        self._reader.join()
        process.stdout.close()
        process.stderr.close()
        if trouble or process.returncode not in (0, -signal.SIGKILL):
            self._book.trouble.append(f"exit {process.returncode}: {trouble[-2000:]}")


def run(folder: Path, seconds: float, *, seed: int = 0, kills: int = 3) -> Result:
    """Two and three processes for so long, and until `kills` of them were killed that had done something."""
    small_parts()
    chance, book, result = random.Random(seed), _Book(), Result()
    (folder / DOCS).mkdir(parents=True)
    alive: list[_Process] = []
    began = time.monotonic()

    def start() -> None:
        result.processes += 1
        alive.append(_Process(folder, f"p{result.processes}", seed * 100_000 + result.processes, book))

    while time.monotonic() - began < seconds or result.kills < kills:
        while len(alive) < 2 + (result.processes // 3) % 2:
            start()
        time.sleep(chance.uniform(0.05, 1.0))
        busy = [process for process in alive if process.said > 5]
        if busy:
            killed = chance.choice(busy)
            alive.remove(killed)
            killed.end(signal.SIGKILL)
            result.kills += 1
    for process in alive:
        process.end(None)
    result.seconds = time.monotonic() - began
    result.operations = book.count["done"] + book.count["read"]
    result.refused = book.count["refused"]
    result.wrong += book.trouble
    try:
        for key, found in _found(folder, result):
            allowed = book.may_be.pop(key, [None])
            if found not in allowed:
                result.lost.append(f"{key} is {found!r} and not {allowed!r}")
    except (EdgeError, sqlite3.Error) as error:
        result.wrong.append(repr(error))
    result.lost += [f"{key} is missing: {allowed!r}" for key, allowed in book.may_be.items() if None not in allowed]
    return result


def _found(folder: Path, result: Result) -> Iterator[tuple[str, str | None]]:
    """What is in the files: chats by title and documents by path. What checks complain of goes into the result."""
    with Store(folder / CHATS) as store:
        for entry in store.chats():
            result.chats += 1
            turns = store.turns(entry.id)
            # Between the two transactions of a new chat it has a title only.
            if turns:
                yield entry.title, turns[0].answer.text
    with Index.open(folder / INDEX, encoder=WordEncoder()) as index:
        result.wrong += index.check()
        for document in index.documents():
            result.documents += 1
            yield document.path, index.text(document.path).split()[3]
    for path in (folder / CHATS, folder / INDEX / "index.sqlite"):
        with sqlite3.connect(path) as database:
            result.wrong += [row[0] for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]
            result.wrong += [str(row) for row in database.execute("PRAGMA foreign_key_check")]
            if path.name == CHATS:
                for table in ("words", "starts"):
                    database.execute(f"INSERT INTO {table}({table}, rank) VALUES ('integrity-check', 1)")
        database.close()


if __name__ == "__main__":
    small_parts()
    Worker(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).work()
