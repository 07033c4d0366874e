"""One question to two sides, without a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import library
from edge.engines.scripted import ScriptedEngine
from edge.errors import ModelTooLarge, UsageError
from edge.model import Model
from edge.system import paths
from edge.types import RagOptions, Sampling
from edge_tui.session.comparison_job import ComparisonJob, Side, pairs, sides, split
from edge_tui.session.events import Error, Event, Finished, Found, SideEvent, Words
from edge_tui.session.openers import Openers
from edge_tui.session.session import Session
from support.chat.fakes import MANUAL, MOTOR, SEAL, FakeIndex, Watched, of, opened


class RecordingEngine(ScriptedEngine):
    """Says who was asked, and remembers with what sampling."""

    def __init__(self, *replies: str) -> None:
        super().__init__(replies or [f"{SEAL} Thank you."])
        self.asked: list[tuple[str | None, Sampling]] = []

    def stream(self, prompt: str, sampling: Sampling, adapter: Any, prefix_boundaries: Any = ()) -> Iterator[Any]:
        self.asked.append((adapter.name if adapter else None, sampling))
        return super().stream(prompt, sampling, adapter)


@pytest.fixture
def kept(edge_home: Path) -> None:
    """Two adapters and two models lie in the data directory; nothing reads them."""
    for folder, names in ((paths.adapters_dir(), ("legal", "pirate")), (paths.models_dir(), ("tiny", "huge"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.gguf").touch()


def talking(engine: ScriptedEngine, *, knowledge: FakeIndex | None = None, **more: Any) -> Session:
    knowledge = knowledge or FakeIndex(MANUAL)
    model = Model(engine, name="tiny")
    model.path = paths.models_dir() / "tiny.gguf"
    chat = Session(lambda: model, lambda: knowledge, **more)
    opened(chat)
    return chat


def compare(chat: Session, words: str, question: str) -> tuple[ComparisonJob, list[Event]]:
    both = ComparisonJob(chat, question, sides(words, chat))
    return both, list(chat.run("comparing", both.run))


def side(events: list[Event], number: int) -> list[Event]:
    return [event.event for event in events if isinstance(event, SideEvent) and event.side == number]


def add(chat: Session, *names: str) -> None:
    model = chat.answering_model()
    path, model.path = model.path, None  # the files are empty, and with a path they would be looked into
    for name in names:
        chat.switch_jobs.with_adapter(model, name)
    model.path = path


def test_base_and_adapter_answer_one_after_the_other_and_the_conversation_stays(kept: None) -> None:
    engine = RecordingEngine()
    chat = talking(engine)
    add(chat, "legal")
    list(chat.ask("what about cucumbers?"))
    both, events = compare(chat, "base|legal", "how often?")
    assert [name for name, _ in engine.asked] == [None, None, "legal"]
    assert [event.side for event in events if isinstance(event, SideEvent)] == sorted(
        event.side for event in events if isinstance(event, SideEvent)
    )
    for number in (0, 1):
        mine = side(events, number)
        assert of(Found, mine)[0].sources[0].quote == SEAL
        assert "".join(word.text for word in of(Words, mine)) == f"{SEAL} Thank you."
        done = of(Finished, mine)[0]
        assert done.speed.tokens == engine.count(f"{SEAL} Thank you.")
        assert done.speed.used > done.speed.tokens
    assert of(Finished, side(events, 0))[0].speed.cached > 0
    assert of(Finished, side(events, 1))[0].speed.cached == 0, "the KV of the base is not the adapter's"
    assert all(event.seconds > 0 for event in of(SideEvent, events) if isinstance(event.event, Finished))
    assert all("cucumbers" in prompt for prompt in engine.prompts[1:])
    assert (chat.question, chat.adapter, chat.state) == ("what about cucumbers?", None, "ready")
    list(chat.ask("next?"))
    assert "how often?" not in engine.prompts[-1]
    assert not both.repeated


def test_an_answer_that_is_kept_is_what_was_said() -> None:
    engine = RecordingEngine(MOTOR, "Every full moon.", "fine")
    chat = talking(engine)
    both, events = compare(chat, "docs|nodocs", "how often?")
    assert of(Found, side(events, 0))
    assert not of(Found, side(events, 1))
    assert SEAL in engine.prompts[0]
    assert SEAL not in engine.prompts[1]
    list(chat.run("answering", lambda _stopped: both.keep(1)))
    assert chat.answer == "Every full moon."
    list(chat.ask("why?"))
    assert "Every full moon." in engine.prompts[-1]
    assert MOTOR not in engine.prompts[-1].replace(MANUAL, "")[: engine.prompts[-1].index("Every full moon.")]


def test_a_question_that_is_compared_again_is_not_read_with_its_answer() -> None:
    engine = RecordingEngine("Monthly.", "Daily.", "Weekly.", "fine")
    chat = talking(engine)
    list(chat.ask("how often?"))
    both, _ = compare(chat, "docs|nodocs", "how often?")
    assert both.repeated
    assert not any("Monthly." in prompt for prompt in engine.prompts)
    list(chat.run("answering", lambda _stopped: both.keep(1)))
    list(chat.ask("why?"))
    assert "Weekly." in engine.prompts[-1]
    assert "Monthly." not in engine.prompts[-1]


def test_chance_is_the_same_on_both_sides() -> None:
    engine = RecordingEngine()
    chat = talking(engine, sampling=Sampling(temperature=1.0))
    compare(chat, "docs|nodocs", "how often?")
    seeds = {sampling.seed for _, sampling in engine.asked}
    assert len(seeds) == 1
    assert seeds != {None}
    assert chat.sampling.seed is None


def test_stopping_ends_the_side_that_answers_and_the_one_that_waits() -> None:
    engine = RecordingEngine("word " * 50)
    chat = talking(engine)
    both = ComparisonJob(chat, "go", sides("docs|nodocs", chat))
    events = []
    for event in chat.run("comparing", both.run):
        events.append(event)
        if len(of(Words, side(events, 0))) == 3:
            chat.stop("comparing")
    first, second = (of(Finished, side(events, number))[0] for number in (0, 1))
    assert (first.end, second.end, second.markdown) == ("cancelled", "cancelled", "")
    assert 3 <= first.markdown.count("word") <= 4
    assert len(engine.prompts) == 1


def test_another_model_is_loaded_for_its_side_and_freed_after_it(kept: None) -> None:
    other = Watched(["Ahoy."])
    openers = Openers(model=lambda wanted: (Path(wanted), lambda: Model(other, name="huge")))
    chat = talking(RecordingEngine(), openers=openers)
    _, events = compare(chat, "this|huge", "how often?")
    assert of(Finished, side(events, 0))
    assert "Ahoy." in of(Finished, side(events, 1))[0].markdown
    assert other.closed
    assert chat.model_name == "tiny"
    assert of(Finished, chat.ask("still there?"))


def test_a_side_that_cannot_answer_says_why_and_the_other_does(kept: None) -> None:
    def refuse() -> Model:
        raise ModelTooLarge("huge needs 90 GB and 2 are free")

    chat = talking(RecordingEngine(), openers=Openers(model=lambda wanted: (Path(wanted), refuse)))
    _, events = compare(chat, "huge|this", "how often?")
    [failure] = of(Error, side(events, 0))
    assert "90 GB" in failure.message
    assert "/model huge" in failure.message
    assert of(Finished, side(events, 1))
    assert chat.state == "ready"


def test_sides_are_named_as_people_name_things(kept: None) -> None:
    chat = talking(RecordingEngine())
    add(chat, "legal")
    chat.set_adapter("legal")
    assert sides("base|legal", chat) == (Side("base", None, True), Side("legal", "legal", True))
    assert sides("this|pirate", chat)[0] == Side("tiny + legal", "legal", True)
    assert sides("docs|nodocs", chat)[1] == Side("without documents", "legal", False)
    assert sides("this|hug", chat)[1] == Side("huge", None, True, str(library.find_model("huge")))
    assert split("base|legal how often?") == ("base|legal", "how often?")
    assert split("how often | when?") == ("", "how often | when?")
    assert split("docs|nodocs") == ("docs|nodocs", "")
    for words, said in (("base|nonsense", "an adapter (legal, pirate) or a model (huge, tiny)"), ("base|base", "same")):
        with pytest.raises(UsageError, match=said.replace("(", r"\(").replace(")", r"\)")):
            sides(words, chat)


def test_only_what_there_is_can_be_compared(kept: None) -> None:
    chat = talking(RecordingEngine())
    assert [pair.key for pair in pairs(chat)] == ["docs|nodocs", "base|legal", "base|pirate", "this|huge"]
    chat.set_adapter("pirate")
    keys = [pair.key for pair in pairs(chat)]
    assert keys == ["base|pirate", "docs|nodocs", "base|legal", "this|legal", "this|huge"]
    chat.set_knowledge(None)
    assert "docs|nodocs" not in [pair.key for pair in pairs(chat)]
    with pytest.raises(UsageError, match="no documents to compare with"):
        sides("docs|nodocs", chat)


def test_the_real_model_answers_both_sides(smollm_path: Path) -> None:
    import edge

    knowledge = FakeIndex(MANUAL)
    chat = Session(
        lambda: edge.load(smollm_path, context=1024),
        lambda: knowledge,
        sampling=Sampling(max_tokens=6),
        rag=RagOptions(min_answerable=0),
    )
    opened(chat)
    _, events = compare(chat, "docs|nodocs", "How often must the seal be replaced?")
    done = [of(Finished, side(events, number))[0] for number in (0, 1)]
    assert [each.speed.tokens for each in done] == [6, 6]
    prompts = [each.speed.used - each.speed.tokens for each in done]
    assert prompts[0] > prompts[1] > 0
    list(chat.close())
