"""What the model reads while nobody asks, and that whoever asks does not notice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edge
from edge.engines.scripted import ScriptedEngine
from edge.types import Adapter, Passage, Sampling
from edge_index import Index
from edge_index.encoders.encoder import Encoder
from edge_index.records import Document
from edge_tui.app.app import ChatApp
from edge_tui.session import worker as working
from edge_tui.session.prewarm import Progress
from edge_tui.session.session import Session
from edge_tui.session.worker import Worker
from support.chat.fakes import MANUAL, FakeIndex, screen_text, session, until

MANUALS = {
    "pump.md": "# Pump\n\nThe shaft seal of the pump is replaced every 4,000 hours of operation, by two people who "
    "have read this page. Use only seals of type S-12, and grease the bearings twice a year, in spring and autumn.\n",
    "fan.md": "# Fan\n\nThe fan is cleaned every week with a dry brush. Nobody may open its cover while the belt is "
    "moving, and whoever works on it hangs a red card on the switch and takes the key of the cabinet with them.\n",
}
SHORT = Sampling(max_tokens=12)


class Books(FakeIndex):
    def documents(self) -> list[Document]:
        return [Document(name, "0" * 64, len(text), len(text), 2, None) for name, text in self.texts.items()]

    def passages(self, document: str) -> list[Passage]:
        text = self.texts[document]
        return [Passage(text[at : at + 50], document, None, None, at, at + 50, 0.0, "0" * 64) for at in (0, 50)]


class Reads(ScriptedEngine):
    """Keeps, in words, what it has read beforehand."""

    def __init__(self, size: int | None = 100) -> None:
        super().__init__(["yes"])
        self.read: list[str] = []
        self.size = size

    def prefill_cache(
        self, prompt: str, adapter: Adapter | None, prefix_boundaries: Any, stopped: Callable[[], bool] | None = None
    ) -> Any:
        if stopped is not None and stopped():
            return None
        self.read.append(prompt)
        return self.size

    def save_kv_cache(self, beginning: str | None = None) -> bool:
        return True


def never() -> bool:
    return False


def reading(engine: ScriptedEngine, budget: int = 10_000, books: Books | None = None) -> Session:
    chat = session(engine=engine, knowledge=books or Books(MANUAL, MANUAL), prewarm_bytes=budget)
    list(chat.open())
    loaded = threading.Event()
    chat.load(lambda _: loaded.set())
    assert loaded.wait(20)
    return chat


def test_every_passage_is_read_once_and_again_for_another_system_text() -> None:
    engine = Reads()
    chat = reading(engine)
    seen: list[Progress | None] = []
    while chat.prewarm_next(never):
        seen.append(chat.prewarmer.progress)
    assert seen == [Progress(1, 4), Progress(2, 4), Progress(3, 4)]
    assert len(set(engine.read)) == 2  # two documents with the same words
    assert len(engine.read) == 4
    assert not chat.prewarm_next(never)
    assert len(engine.read) == 4
    chat.system = "Answer in Latin."
    while chat.prewarm_next(never):
        pass
    assert len(engine.read) == 8


def test_a_budget_and_a_stop_hold() -> None:
    engine = Reads()
    chat = reading(engine, budget=250)
    assert chat.prewarm_next(lambda: True)
    assert engine.read == []
    while chat.prewarm_next(never):
        pass
    assert len(engine.read) == 2, "a third would drive out the first"
    for nothing in (reading(Reads(), budget=0), reading(Reads(size=None)), reading(Reads(), books=Books())):
        assert not nothing.prewarm_next(never)
        assert nothing.prewarmer.progress is None


def test_a_conversation_that_cannot_be_kept_is_not_given_up() -> None:
    class Forgets(Reads):
        def save_kv_cache(self, beginning: str | None = None) -> bool:
            return False

    engine = Forgets()
    chat = reading(engine)
    list(chat.ask("how often?"))
    assert not chat.prewarm_next(never)
    assert engine.read == []


def test_the_worker_reads_when_it_is_idle_and_stops_for_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_REST", 0.05)
    began, calls = threading.Event(), []

    def idle(stopped: Callable[[], bool]) -> bool:
        calls.append(1)
        began.set()
        while not stopped():
            pass
        return True

    worker = Worker(idle)
    worker.start()
    assert began.wait(20)
    done = threading.Event()
    worker.submit(_once(done))
    assert done.wait(20), "the job did not wait for what nobody asked for"
    worker.close()
    assert worker.join(20)


def test_a_worker_whose_idle_work_breaks_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_REST", 0.01)
    broke, done = threading.Event(), threading.Event()

    def idle(_stopped: Callable[[], bool]) -> bool:
        broke.set()
        raise OSError("gone")

    worker = Worker(idle)
    worker.start()
    assert broke.wait(20)
    worker.submit(_once(done))
    assert done.wait(20)
    worker.close()
    assert worker.join(20)


def _once(done: threading.Event) -> Any:
    done.set()
    yield from ()


def test_the_status_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(working, "_REST", 0.05)
    gate = threading.Event()

    class Waits(Reads):
        def prefill_cache(self, *arguments: Any) -> Any:
            if self.read:
                gate.wait(20)
            return super().prefill_cache(*arguments)

    async def main() -> None:
        app = ChatApp(session(engine=Waits(), knowledge=Books(MANUAL), prewarm_bytes=1000))
        async with app.run_test(size=(120, 30)) as pilot:
            await until(pilot, lambda: "reading ahead, 1 of 2" in screen_text(app))
            gate.set()
            await until(pilot, lambda: "reading ahead" not in screen_text(app))

    asyncio.run(main())


def test_the_real_model_answers_the_same_and_has_read_it_before(
    edge_home: Path, smollm_path: Path, minilm_dir: Path, tmp_path: Path
) -> None:
    for name, text in MANUALS.items():
        (tmp_path / name).write_text(text)
    index = Index.open(tmp_path / "index", encoder=Encoder.open(minilm_dir, cache=edge_home / "encoders"))
    index.add([tmp_path / name for name in MANUALS])
    answers: dict[bool, list[tuple[str, int]]] = {}
    for prewarmed in (False, True):
        budget = 100_000_000 if prewarmed else 0
        model = edge.load(smollm_path, context=1024, threads=2, kv_budget=budget / 1e9)
        chat = Session(lambda m=model: m, lambda: index, sampling=SHORT, prewarm_bytes=budget)
        chat._begin_with(model)
        list(chat.open())
        for question in ("How often is the shaft seal replaced?", "And by how many people?", "Who cleans the fan?"):
            list(chat.ask(question))
            answers.setdefault(prewarmed, []).append((chat.answer, chat.speed.cached))
            if prewarmed:
                assert model.save_kv_cache()  # the checksum of the weights is known now
                more = chat.prewarm_next(lambda: True)
                assert more is (len(answers[True]) == 1), "stopped at once, and nothing is lost"
                while chat.prewarm_next(never):
                    pass
        list(chat.clear())
        list(chat.ask("How often is the fan cleaned?"))
        answers[prewarmed].append((chat.answer, chat.speed.restored))
        model.close()
    index.close()
    assert [text for text, _ in answers[True]] == [text for text, _ in answers[False]]
    assert [cached for _, cached in answers[True][:3]] == [cached for _, cached in answers[False][:3]]
    assert answers[False][3][1] == 0
    assert answers[True][3][1] > 60
