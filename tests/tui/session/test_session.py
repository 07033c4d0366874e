"""The chat's logic, without a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from edge.engines.scripted import ScriptedEngine
from edge.errors import KnowledgeError, ModelError
from edge.model import Model
from edge_tui.session.events import (
    Adapted,
    Added,
    Error,
    Event,
    Finished,
    Found,
    FurtherPassages,
    Idle,
    Loaded,
    Prefilling,
    Words,
)
from edge_tui.session.session import Session
from edge_tui.session.worker import Worker
from support.chat.fakes import MANUAL, MOTOR, SEAL, TYPE, FakeIndex, Watched, large, of, opened, session


def test_evidence_first_then_words_then_the_whole_answer() -> None:
    chat = session(f"{SEAL} Keep a spare one at home.", knowledge=FakeIndex(MANUAL))
    assert opened(chat) == [Loaded()]
    events = list(chat.ask("how often?"))
    kinds = [type(event) for event in events]
    assert kinds.index(Found) < kinds.index(Prefilling) < kinds.index(Words)
    assert kinds[-1] is Finished
    assert "".join(event.text for event in of(Words, events)) == f"{SEAL} Keep a spare one at home."
    done = events[-1]
    assert isinstance(done, Finished)
    assert done.markdown == f"{SEAL} [\\[1\\]](#source-1) *Keep a spare one at home.°*"
    assert chat.answer == f"{SEAL} Keep a spare one at home."


def test_going_on_to_further_passages_is_said_before_the_words() -> None:
    chat = session(knowledge=FakeIndex(MANUAL, MANUAL, MANUAL), engine=large("The passage does not tell.", SEAL))
    opened(chat)
    events = list(chat.ask("how often?"))
    assert [str(event) for event in of(FurtherPassages, events)] == [
        "What was read does not tell; reading 2 more passages."
    ]
    assert "".join(event.text for event in of(Words, events)) == SEAL
    assert chat.answer == SEAL


def test_every_source_stands_literally_in_its_document() -> None:
    chat = session(f"{SEAL} {MOTOR}", knowledge=FakeIndex(MANUAL))
    opened(chat)
    sources = of(Finished, chat.ask("how?"))[0].sources
    assert [source.quote for source in sources] == [SEAL, TYPE, MOTOR]
    for source in sources:
        assert MANUAL[source.start : source.end] == source.quote
        assert source.before + source.quote + source.after in MANUAL
        assert source.before


def test_costs_come_from_the_engine_and_the_second_turn_is_cached() -> None:
    engine = ScriptedEngine(["one two three"])
    chat = session(engine=engine, knowledge=FakeIndex(MANUAL))
    opened(chat)
    list(chat.ask("first?"))
    prompt = engine.count(engine.prompts[0])
    assert chat.speed.used == prompt + 3
    assert chat.speed.limit == 4096
    assert chat.speed.cached == 0
    list(chat.ask("second?"))
    assert chat.speed.cached > 0.9 * prompt


def test_stopping_keeps_what_was_said() -> None:
    chat = session("word " * 50)
    opened(chat)
    seen = []
    for event in chat.ask("go"):
        seen.append(event)
        if len(of(Words, seen)) == 3:
            chat.stop()
    assert len(of(Words, seen)) == 3
    done = seen[-1]
    assert isinstance(done, Finished)
    assert (done.end, done.markdown, done.notes) == ("cancelled", "word word word", ("Stopped",))
    assert chat.answer == "word word word"
    again = list(chat.ask("and now?"))
    assert of(Finished, again)[0].end == "stop"


def test_a_question_that_was_taken_back_never_reaches_the_model() -> None:
    engine = ScriptedEngine(["hello"])
    chat = session(engine=engine)
    opened(chat)
    waiting = chat.ask("never mind")
    chat.stop()
    assert [type(event) for event in waiting] == [Finished]
    assert engine.prompts == []


def test_a_model_that_cannot_be_loaded_leaves_the_documents() -> None:
    def broken() -> Model:
        raise ModelError("tiny.gguf is cut off; fetch it again")

    chat = session(open_model=broken, knowledge=FakeIndex(MANUAL))
    assert opened(chat) == [Loaded("tiny.gguf is cut off; fetch it again")]
    assert chat.state == "failed"
    events = list(chat.ask("how often?"))
    assert [source.quote for source in of(Found, events)[-1].sources] == [SEAL, TYPE]
    assert "No model" in events[-1].notes[0]  # type: ignore[union-attr]


def test_without_model_and_documents_the_question_gets_the_reason() -> None:
    def broken() -> Model:
        raise RuntimeError("out of luck")

    chat = session(open_model=broken)
    loaded = opened(chat)[0]
    assert isinstance(loaded, Loaded)
    assert "RuntimeError: out of luck" in (loaded.error or "")
    assert "out of luck" in of(Error, chat.ask("hello?"))[0].message


def test_a_question_that_cannot_fit_is_said_and_the_chat_goes_on() -> None:
    chat = session(engine=ScriptedEngine(["fine"], context=60))
    opened(chat)
    failure = of(Error, chat.ask("word " * 200))
    assert "60" in failure[0].message
    assert of(Finished, chat.ask("short"))[0].markdown == "fine"


def test_documents_from_the_start_and_later_are_used(tmp_path: Path) -> None:
    knowledge = FakeIndex()
    chat = session(SEAL, knowledge=knowledge, documents=["/first.md"])
    assert of(Added, opened(chat))[0].report.added == ("/first.md",)
    steps: list[str | None] = []
    report = of(Added, chat.add(["/second.md", "/scan.pdf"], lambda now: steps.append(now.path)))[0].report
    assert steps == ["/second.md", "/scan.pdf", None]
    assert [failure.path for failure in report.failed] == ["/scan.pdf"]
    assert [document.path for document in chat.documents] == ["/first.md", "/second.md"]
    assert of(Found, chat.ask("how often?"))[0].sources[0].document == "/first.md"


def test_an_empty_index_does_not_silence_the_model() -> None:
    chat = session("Hello there.", knowledge=FakeIndex())
    opened(chat)
    assert of(Finished, chat.ask("hi"))[0].markdown == "Hello there."


def test_adding_can_be_stopped_and_can_fail() -> None:
    knowledge = FakeIndex(MANUAL)
    chat = session(knowledge=knowledge)
    opened(chat)
    added = of(Added, chat.add(["/a.md", "/b.md", "/c.md"], lambda now: chat.stop() if now.done == 1 else None))
    assert added[0].stopped
    assert "/a.md" in knowledge.texts
    assert "/c.md" not in knowledge.texts
    assert "nothing to read" in of(Error, chat.add(["/nothing"]))[0].message
    assert chat.state == "ready"


def test_an_index_that_cannot_be_opened_is_said_and_the_model_still_talks() -> None:
    def broken() -> FakeIndex:
        raise KnowledgeError("index.sqlite is damaged")

    chat = Session(lambda: Model(ScriptedEngine(["Hello."])), broken)
    assert opened(chat) == [Error("index.sqlite is damaged"), Loaded()]
    assert of(Finished, chat.ask("hi"))[0].markdown == "Hello."
    assert of(Error, chat.add(["/a.md"]))


def test_a_document_that_left_meanwhile_leaves_the_quote() -> None:
    knowledge = FakeIndex(MANUAL)
    chat = session(SEAL, knowledge=knowledge)
    opened(chat)
    events = chat.ask("how?")
    first = next(events)
    knowledge.texts.clear()
    rest = list(events)
    assert isinstance(first, Found)
    done = of(Finished, rest)[0]
    assert (done.sources[0].quote, done.sources[0].before) == (SEAL, "")


def test_clear_forgets_and_close_frees() -> None:
    engine, knowledge = Watched(["one", "two"]), FakeIndex(MANUAL)
    chat = session(engine=engine, knowledge=knowledge)
    opened(chat)
    list(chat.ask("remember the word cucumber"))
    list(chat.clear())
    assert chat.answer == ""
    list(chat.ask("which word?"))
    assert "cucumber" not in engine.prompts[-1]
    list(chat.close())
    assert engine.closed
    assert knowledge.closed


def test_the_worker_keeps_order_and_survives_a_job_that_breaks() -> None:
    worker = Worker()

    def breaks() -> Iterable[Event]:
        yield Words("a")
        raise ZeroDivisionError("oops")

    worker.submit(breaks())
    worker.submit(iter([Words("b"), Words("c"), Error("t"), Words("d")]))
    assert worker.drain() == []
    worker.start()
    worker.close()
    assert worker.join(20)
    first, failure, *rest = worker.drain()
    assert first == Words("a")
    assert isinstance(failure, Error)
    assert "ZeroDivisionError: oops" in failure.message
    assert rest == [Idle(), Words("bc"), Error("t"), Words("d"), Idle()]
    assert worker.drain() == []


@pytest.mark.parametrize("piece", ["\x1b[2J", "\x1b]0;owned\x07", "\x9b31m"])
def test_escape_sequences_of_a_model_are_taken_apart(piece: str) -> None:
    chat = session(f"before {piece} after")
    opened(chat)
    events = list(chat.ask("go"))
    shown = "".join(event.text for event in of(Words, events)) + of(Finished, events)[0].markdown
    assert not set(shown) & set("\x1b\x07\x9b")


def test_an_adapter_that_cannot_be_used_leaves_the_one_that_answers(tmp_path: Path) -> None:
    engine = ScriptedEngine(["yes"])
    chat = session(open_model=lambda: Model(engine, name="tiny"))
    opened(chat)
    (tmp_path / "legal.gguf").touch()
    [done] = list(chat.adapt(str(tmp_path / "legal.gguf")))
    assert isinstance(done, Adapted)
    assert (done.name, chat.adapter) == ("legal", "legal")
    [refused] = list(chat.adapt(str(tmp_path / "absent.gguf")))
    assert isinstance(refused, Error)
    assert "absent.gguf does not exist" in refused.message
    assert chat.adapter == "legal"
    assert chat.state == "ready"
