"""/model, /adapter, /index, /system, /sampling and /compare, typed and chosen, in the app."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.engines.scripted import ScriptedEngine
from edge.errors import KnowledgeError, ModelTooLarge
from edge.model import Model
from edge.system import paths
from edge.types import Sampling
from edge_tui.app.app import ChatApp
from edge_tui.app.screens.compare import CompareScreen
from edge_tui.app.screens.picker import PickerScreen
from edge_tui.session.openers import Openers
from support.chat.driving import answered, drive, prompt, ready
from support.chat.fakes import MANUAL, SEAL, FakeIndex, Watched, running_text, screen_text, send, session, until


@pytest.fixture
def kept(edge_home: Path) -> Path:
    """Two models, an adapter and an index, as far as names go."""
    for folder, names in ((paths.adapters_dir(), ("legal.gguf",)), (paths.models_dir(), ("tiny.gguf", "huge.gguf"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"GGUF")
    (paths.indexes_dir() / "pumps").mkdir(parents=True)
    return edge_home


def other_model(name: str = "huge", *replies: str) -> tuple[Watched, Openers]:
    engine = Watched(list(replies) or ["I am huge."])
    return engine, Openers(model=lambda wanted: (Path(wanted), lambda: Model(engine, name=name, path=Path(wanted))))


def picking(app: ChatApp) -> Callable[[], bool]:
    return lambda: isinstance(app.screen, PickerScreen) and "↑ ↓ choose" in screen_text(app)


def comparing(app: ChatApp) -> CompareScreen:
    assert isinstance(app.screen, CompareScreen)
    return app.screen


async def compared(app: ChatApp, pilot: Any) -> CompareScreen:
    await until(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.over)
    await pilot.pause()
    return comparing(app)


def completed(app: ChatApp, name: str, begun: str) -> list[str]:
    complete = app.commands[name].complete
    assert complete is not None
    return list(complete(app.view, begun))


def test_a_model_is_named_or_chosen_and_the_conversation_goes_on(kept: Path) -> None:
    first, (huge, openers) = Watched(["I am tiny."]), other_model()

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "what about cucumbers?")
        await answered(app, pilot)
        await send(pilot, "/model")
        await until(pilot, picking(app))
        assert "truncated or damaged" in running_text(app)
        await pilot.press(*"hug", "enter")
        await until(pilot, lambda: "huge answers from now on" in screen_text(app))
        assert "● huge" in screen_text(app).splitlines()[-2]
        assert first.closed
        await send(pilot, "and now?")
        await until(pilot, lambda: "I am huge." in screen_text(app))
        await answered(app, pilot)
        assert "cucumbers" in huge.prompts[-1]
        assert completed(app, "model", "HU") == ["huge"]
        await send(pilot, "/model huge")
        await until(pilot, lambda: "huge answers from now on" in screen_text(app))

    drive(session(engine=first, openers=openers), play)


def test_a_model_that_does_not_fit_is_said_and_the_chat_is_intact() -> None:
    def refuse() -> Model:
        raise ModelTooLarge("huge.gguf needs 90 GB and 2 GB are free; close other programs")

    openers = Openers(model=lambda wanted: (Path(wanted), refuse))

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/model huge")
        await until(pilot, lambda: "tiny goes on answering" in screen_text(app))
        assert "needs 90 GB" in screen_text(app)
        await send(pilot, "still there?")
        await until(pilot, lambda: "I am tiny." in screen_text(app))

    drive(session("I am tiny.", openers=openers), play)


def test_escape_keeps_the_model_while_another_one_loads() -> None:
    gate = threading.Event()

    def slow() -> Model:
        assert gate.wait(20)
        return Model(ScriptedEngine(), name="slow")

    openers = Openers(model=lambda wanted: (Path(wanted), slow))

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/model slow")
        await until(pilot, lambda: "loading what you chose" in screen_text(app))
        await pilot.press(*"typing")
        assert prompt(app).text == "typing"
        await pilot.press("escape")
        await until(pilot, lambda: "Stopped; tiny goes on answering." in screen_text(app))
        gate.set()

    drive(session(openers=openers), play)


def test_the_adapters_picker_says_which_one_fits(kept: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/adapter")
        await until(pilot, picking(app))
        shown = screen_text(app)
        assert "the plain base  ● answers now" in shown
        assert "is no GGUF LoRA or is damaged" in running_text(app)
        await pilot.press("escape")
        assert completed(app, "adapter", "le") == ["legal"]

    drive(session(), play)


def test_documents_are_exchanged_by_name_by_choice_and_for_none(kept: Path) -> None:
    more = FakeIndex(MANUAL, MANUAL)

    def index(wanted: str) -> FakeIndex:
        if "locked" in wanted:
            raise KnowledgeError(
                "the index is being written by `edge index add` (process 7); try again when it is done"
            )
        return more

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/index off")
        await until(pilot, lambda: "no documents" in screen_text(app).splitlines()[-2])
        await send(pilot, "/index")
        await until(pilot, picking(app))
        assert "no documents  ● answers now" in screen_text(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: "Answers stand on pumps from now on: 2 documents." in screen_text(app))
        await send(pilot, "/index locked")
        await until(pilot, lambda: "The documents stay as they were." in screen_text(app))
        assert "(process 7)" in screen_text(app)
        await send(pilot, "how often?")
        await until(pilot, lambda: "Nearest in your documents" in screen_text(app))
        assert completed(app, "index", "") == ["off", "pumps"]

    drive(session(knowledge=FakeIndex(MANUAL), openers=Openers(index=index)), play)


def test_the_system_text_is_shown_and_changed() -> None:
    engine = ScriptedEngine(["yes"])

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/system")
        assert "is told edge's own words first: You are" in screen_text(app)
        await send(pilot, "/system Speak like [b]a sailor[/b].")
        assert "is told this first: Speak like [b]a sailor" in screen_text(app)
        await send(pilot, "hello?")
        await answered(app, pilot)
        assert "sailor" in engine.prompts[0]
        await send(pilot, "/system off")
        assert "is told nothing" in screen_text(app)
        await send(pilot, "/system default")
        await send(pilot, "again?")
        await until(pilot, lambda: len(engine.prompts) == 2)
        await answered(app, pilot)
        assert "You are a helpful assistant." in engine.prompts[1]
        assert completed(app, "system", "d") == ["default"]

    drive(session(engine=engine), play)


def test_sampling_is_shown_changed_and_led_back() -> None:
    chat = session(sampling=Sampling(max_tokens=9))

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/sampling temperature=0.7 seed=3")
        assert "temperature=0.7" in screen_text(app)
        assert (chat.sampling.temperature, chat.sampling.seed, chat.sampling.max_tokens) == (0.7, 3, 9)
        await send(pilot, "/sampling temperature=hot")
        assert "Nothing was changed: temperature must be a number from 0 to 5" in screen_text(app)
        await send(pilot, "/sampling")
        assert screen_text(app).count("seed=3") == 2
        assert max(map(len, screen_text(app).splitlines())) <= 80
        await send(pilot, "/sampling default")
        assert chat.sampling == Sampling(max_tokens=9)
        assert completed(app, "sampling", "seed=1 temp") == ["seed=1 temperature="]

    drive(chat, play, size=(80, 40))


def test_one_question_to_two_sides_and_one_answer_is_kept() -> None:
    engine = ScriptedEngine(["With documents.", "Without documents.", "fine"])

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/compare docs|nodocs how often?")
        await compared(app, pilot)
        shown = screen_text(app)
        for part in ("1 with documents", "2 without documents", "With documents.", "Without documents.", "tok/s"):
            assert part in shown
        assert shown.count("Replace the shaft seal") == 1, "the evidence of one side"
        await pilot.press("2")
        await until(pilot, lambda: not isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: "Without documents." in screen_text(app))
        assert "how often?" in screen_text(app)
        assert app.session.answer == "Without documents."
        await send(pilot, "why?")
        await until(pilot, lambda: "fine" in screen_text(app))
        assert "Without documents." in engine.prompts[-1]

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL)), play)


def test_the_key_compares_the_line_that_is_written_or_the_last_question(kept: Path) -> None:
    engine = ScriptedEngine(["One.", "Two.", "Three.", "Four.", "Five."])

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Write a question first" in screen_text(app))
        await pilot.press(*"first?", "ctrl+r")
        await until(pilot, picking(app))
        assert "with | without documents" in screen_text(app)
        await pilot.press("enter")
        await compared(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.session.answer == ""
        await pilot.press("enter")
        await until(pilot, lambda: "Three." in screen_text(app))
        await answered(app, pilot)
        await pilot.press("ctrl+r")
        await until(pilot, picking(app))
        await pilot.press(*"without", "enter")
        await compared(app, pilot)
        await pilot.press("1")
        await until(pilot, lambda: "It counts instead of the answer before." in screen_text(app))
        assert "Four." in screen_text(app)
        assert not any("Three." in text for text in engine.prompts)
        await pilot.press(*"second?", "ctrl+r")
        await until(pilot, picking(app))
        await pilot.press("enter")
        await compared(app, pilot)
        await pilot.press("1")
        await until(pilot, lambda: app.session.question == "second?")
        assert prompt(app).text == "", "it has been asked"

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL)), play)


def test_escape_stops_a_comparison_and_then_leaves_it() -> None:
    engine = ScriptedEngine(["alpha " * 5000], delay=0.005)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/compare docs|nodocs go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        await pilot.resize_terminal(80, 24)
        await pilot.press("escape")
        screen = await compared(app, pilot)
        assert "Stopped" in screen_text(app)
        assert screen.panes[1].finished is None
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await until(pilot, lambda: app.session.state == "ready")
        assert len(engine.prompts) == 1

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL), sampling=Sampling(max_tokens=10_000)), play)


def test_nothing_is_compared_while_an_answer_is_written() -> None:
    engine = ScriptedEngine(["alpha " * 5000], delay=0.005)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Still answering" in screen_text(app))
        assert len(app.screen_stack) == 1
        await pilot.press("escape")
        await answered(app, pilot)

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL), sampling=Sampling(max_tokens=10_000)), play)


def test_leaving_the_app_in_the_middle_of_a_comparison_ends_it() -> None:
    engine = Watched(["alpha " * 100_000], delay=0.001)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/compare docs|nodocs go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        await pilot.press("ctrl+q")

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL), sampling=Sampling(max_tokens=1_000_000)), play)
    assert engine.closed


def test_what_cannot_be_compared_is_said(kept: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/compare docs|nodocs how often?")
        await until(pilot, lambda: "there are no documents to compare with" in screen_text(app))
        await send(pilot, "/compare base|nonsense how often?")
        await until(pilot, lambda: "nonsense is no side to compare" in screen_text(app))
        assert completed(app, "compare", "base|l") == ["base|legal "]

    drive(session(), play)


def test_with_nothing_to_compare_the_way_to_something_is_said() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/compare how often?")
        await until(pilot, lambda: "nothing to compare with" in screen_text(app))

    drive(session(SEAL), play)
