"""A knowledge base without an encoder, a session on the scripted engine, and what stands on the screen."""

from __future__ import annotations

import asyncio
import html
import io
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from edge.engines.scripted import ScriptedEngine
from edge.errors import KnowledgeError
from edge.model import Model
from edge.types import Evidence, Passage
from edge_index.records import AddProgress, AddReport, Document, Failure
from edge_tui.app.input.prompt import Prompt
from edge_tui.plain.chat import PlainChat
from edge_tui.rendering.sources import Staleness
from edge_tui.session.events import Event
from edge_tui.session.session import Session

MANUAL = """# Pump P-7

The P-7 is a pump for closed heating circuits.

## Maintenance

Close both valves before any work. Replace the shaft seal every 4,000 hours of operation. Use only seals of \
type S-12 [see annex B].

## Electrical data

The motor takes 45 W at 230 V. The fuse must not exceed 10 A.
"""
SEAL = "Replace the shaft seal every 4,000 hours of operation."
TYPE = "Use only seals of type S-12 [see annex B]."
MOTOR = "The motor takes 45 W at 230 V."
VALVES = "Close both valves before any work."


class FakeIndex:
    """Documents in memory behind the interface of `edge_index.Index`; every question finds the same passages."""

    def __init__(self, *texts: str, wait: threading.Event | None = None) -> None:
        self.texts = {f"/manuals/pump-{n}.md": text for n, text in enumerate(texts, 1)}
        self.wait = wait
        self.closed = False
        self.outdated: dict[str, str] = {}
        self.threads: set[int] = set()
        self.outdated: dict[str, Staleness] = {}

    def search(self, query: str, k: int = 5) -> list[Passage]:
        self.threads.add(threading.get_ident())
        found = []
        for name, text in self.texts.items():
            start, end = text.index(VALVES), text.index("10 A.") + 5
            score = 0.9 / (1 + len(found))
            found.append(Passage(text[start:end], name, 12, "Maintenance", start, end, score, "0" * 64))
        return found[:k]

    def evidence(self, query: str, passages: Sequence[Passage], limit: int = 3) -> list[Evidence]:
        out = []
        for passage in passages[:1]:
            text = self.texts[passage.document]
            for quote in (SEAL, TYPE):
                start = text.index(quote)
                out.append(Evidence(quote, passage.document, 12, "Maintenance", start, start + len(quote), 0.8))
        return out

    def add(
        self,
        paths: Sequence[str | Path],
        *,
        progress: Callable[[AddProgress], None] | None = None,
        again: bool = False,
    ) -> AddReport:
        self.threads.add(threading.get_ident())
        files = [str(path) for path in paths]
        if any("nothing" in name for name in files):
            raise KnowledgeError("there is nothing to read in /nothing; give a folder with documents")
        for done, name in enumerate(files):
            if progress is not None:
                progress(AddProgress(done, len(files), name, done))
            if self.wait is not None:
                assert self.wait.wait(20)
            if "scan" not in name:
                self.texts[name] = MANUAL
        if progress is not None:
            progress(AddProgress(len(files), len(files), None, len(files)))
        failed = tuple(Failure(name, "has pages but no text") for name in files if "scan" in name)
        return AddReport(tuple(name for name in files if "scan" not in name), failed=failed, passages=len(self.texts))

    def remove(self, path: str | Path) -> int:
        gone = [name for name in self.texts if name == str(path) or Path(name).is_relative_to(path)]
        for name in gone:
            del self.texts[name]
        return len(gone)

    def documents(self) -> list[Document]:
        return [Document(name, "0" * 64, len(text), len(text), 1, None) for name, text in self.texts.items()]

    def text(self, document: str) -> str:
        if document not in self.texts:
            raise KnowledgeError(f"{document} is not in the index")
        return self.texts[document]

    def stale(self, documents: Iterable[str] | None = None) -> dict[str, Staleness]:
        return {path: how for path, how in self.outdated.items() if documents is None or path in set(documents)}

    def close(self) -> None:
        self.closed = True


class Watched(ScriptedEngine):
    """Remembers that it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


def large(*replies: str, by: Callable[[str], str] | None = None) -> ScriptedEngine:
    """An engine of a size that reads as many passages as a question is worth; `by` replies to the prompt."""
    engine = ScriptedEngine(by or replies)
    engine.parameters = 3_800_000_000
    return engine


def session(
    reply: str = SEAL,
    *,
    knowledge: FakeIndex | None = None,
    engine: ScriptedEngine | None = None,
    open_model: Callable[[], Model] | None = None,
    **more: Any,
) -> Session:
    model = Model(engine or Watched([reply]), name="tiny")
    return Session(open_model or (lambda: model), (lambda: knowledge) if knowledge is not None else None, **more)


def opened(chat: Session) -> list[Event]:
    """Load and open as the app does, and wait for both."""
    events: list[Event] = []
    loaded = threading.Event()

    def tell(event: Event) -> None:
        events.append(event)
        loaded.set()

    events.extend(chat.open())
    chat.load(tell)
    assert loaded.wait(20)
    return events


def of(kind: type[Any], events: Iterable[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def talk(*lines: str, invite: bool = False, **more: Any) -> tuple[int, str, str]:
    """Say these lines; exit status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    typed = io.StringIO("".join(f"{line}\n" for line in lines))
    status = PlainChat(session(**more), typed, out, err, invite=invite).loop()
    return status, out.getvalue(), err.getvalue()


def screen_text(app: Any) -> str:
    """The characters that stand on the screen, row by row, out of the app's own screenshot."""
    svg = app.export_screenshot()
    rows: dict[int, list[tuple[float, float, str]]] = {}
    pattern = r'<text[^>]* x="([\d.]+)"[^>]* textLength="([\d.]+)" clip-path="url\(#[^"]*line-(\d+)\)">([^<]*)</text>'
    for x, length, row, text in re.findall(pattern, svg):
        plain = html.unescape(text).replace("\xa0", " ")
        rows.setdefault(int(row), []).append((float(x), float(length), plain))
    lines = []
    for row in range(max(rows, default=0) + 1):
        line = ""
        for x, length, text in sorted(rows.get(row, [])):
            line = line.ljust(round(x * len(text) / length)) + text
        lines.append(line.rstrip())
    return "\n".join(lines)


def running_text(app: Any) -> str:
    """What the screen says left of the sources, wherever a line of it happens to be wrapped."""
    return " ".join(re.sub("▌|│.*", " ", screen_text(app)).split())


async def until(pilot: Any, true: Callable[[], object], what: str = "", seconds: float = 20) -> None:
    """Let the app go on until something holds; the deadline is for a test that fails."""
    end = monotonic() + seconds
    while monotonic() < end:
        if true():
            return
        await asyncio.sleep(0.01)
        await pilot.pause()
    raise AssertionError(f"never happened: {what or true}\n{screen_text(pilot.app)}")


async def click(pilot: Any, pattern: str, true: Callable[[], object]) -> None:
    """Click on a pattern's first group until something holds: a layout may move it away between look and click."""
    end = monotonic() + 20
    while monotonic() < end:
        rows = enumerate(screen_text(pilot.app).splitlines())
        found = next(((hit.start(1), y) for y, row in rows if (hit := re.search(pattern, row))), None)
        if found is not None:
            await pilot.click(offset=found)
        with suppress(AssertionError):
            await until(pilot, true, seconds=1)
            return
    raise AssertionError(f"no click had an effect: {pattern}\n{screen_text(pilot.app)}")


async def send(pilot: Any, line: str) -> None:
    """Put a line into the input, as pasting does, and press Enter."""
    pilot.app.query_one(Prompt).insert(line)
    await pilot.press("enter")
    await pilot.pause()
