"""The app driven by keys, and what a person then sees."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.command import CommandPalette
from textual.widgets import Input, Markdown, Static

from edge.engines.scripted import ScriptedEngine
from edge.errors import ModelError
from edge.model import Model
from edge.types import Sampling
from edge_tui.app.app import ChatApp
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import HelpNote
from edge_tui.app.widgets.sources import SourcesPane
from support.chat.driving import answered, drive, marked, prompt, ready
from support.chat.fakes import (
    MANUAL,
    MOTOR,
    SEAL,
    TYPE,
    VALVES,
    FakeIndex,
    Watched,
    click,
    large,
    screen_text,
    send,
    session,
    until,
)


def test_the_first_frame_stands_before_the_model_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, called = threading.Event(), threading.Event()
    frames: list[tuple[bool, str]] = []
    begin = ChatApp._begin

    def slow() -> Model:
        called.set()
        assert gate.wait(20)
        return Model(ScriptedEngine(["Hello."]), name="tiny")

    def look_and_begin(app: ChatApp) -> None:
        frames.append((called.is_set(), screen_text(app)))
        begin(app)

    async def play(app: ChatApp, pilot: Any) -> None:
        await until(pilot, called.is_set)
        assert "loading the model" in screen_text(app)
        await pilot.press(*"typing")
        assert "typing" in screen_text(app)
        await pilot.press("enter")
        gate.set()
        await until(pilot, lambda: "Hello." in screen_text(app))

    monkeypatch.setattr(ChatApp, "_begin", look_and_begin)
    drive(session(open_model=slow), play, size=(80, 24))
    assert len(frames) == 1
    before, shown = frames[0]
    assert not before
    assert "Ask your documents" in shown
    assert "Enter send" in shown


def test_a_question_before_anything_is_open_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ChatApp._begin

    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, "how often?")
        begin(app)
        await until(pilot, lambda: "Nearest in your documents" in screen_text(app) and "[1]" in screen_text(app))
        await answered(app, pilot)
        assert "Stopped" not in screen_text(app)

    monkeypatch.setattr(ChatApp, "_begin", lambda app: None)
    drive(session(knowledge=FakeIndex(MANUAL)), play)


def test_evidence_words_marks_and_costs_are_on_the_screen() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        shown = screen_text(app)
        assert shown.index("how often?") < shown.index("Nearest in your documents") < shown.index("Keep a spare.°")
        assert "[1] Replace the shaft seal every 4,000 hours of operation." in shown
        assert f"pump-1.md · p. 12 · {MANUAL.index(SEAL)}–{MANUAL.index(SEAL) + len(SEAL)}" in shown
        assert "° the model's own words: not in the documents" in shown
        for part in ("tiny", "tok/s", "first word", "/4,096", "1 document"):
            assert part in shown

    drive(session(f"{MOTOR} Keep a spare.", knowledge=FakeIndex(MANUAL)), play)


def test_words_appear_while_the_model_still_writes() -> None:
    engine = ScriptedEngine(["alpha beta " * 400], delay=0.01)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha beta" in screen_text(app))
        assert app.session.state == "answering"
        assert "writing" in screen_text(app)

    drive(session(engine=engine), play)


def test_escape_stops_and_what_was_said_stays() -> None:
    engine = ScriptedEngine(["alpha " * 5000], delay=0.005)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        await send(pilot, "too early")
        assert prompt(app).text == "too early"
        await pilot.press("escape")
        view = await answered(app, pilot)
        assert 0 < view.query_one(Markdown).source.count("alpha") < 5000
        await until(pilot, lambda: "Stopped" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: len(engine.prompts) == 2)

    drive(session(engine=engine, sampling=Sampling(max_tokens=10_000)), play)


def test_escape_takes_a_question_back_while_the_model_loads() -> None:
    gate = threading.Event()
    engine = ScriptedEngine(["Hello."])

    def slow() -> Model:
        assert gate.wait(20)
        return Model(engine)

    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, "how often?")  # maybe before the documents are open: it must wait for them
        await until(
            pilot, lambda: "Nearest in your documents" in screen_text(app), "evidence before the model is there"
        )
        await pilot.press("escape")
        await until(pilot, lambda: "Stop" in screen_text(app))
        gate.set()
        await ready(app, pilot)
        await send(pilot, "again?")
        await until(pilot, lambda: "Hello." in screen_text(app))
        assert len(engine.prompts) <= 2
        assert "Hello." not in app.query(AnswerView).first().query(Markdown)

    drive(session(open_model=slow, knowledge=FakeIndex(MANUAL)), play)


def test_leaving_while_the_model_writes_stops_and_closes_it() -> None:
    engine = Watched(["alpha " * 100_000], delay=0.001)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        await pilot.press("ctrl+q")

    knowledge = FakeIndex(MANUAL)
    chat = session(engine=engine, knowledge=knowledge, sampling=Sampling(max_tokens=1_000_000))
    drive(chat, play)
    assert engine.closed
    assert knowledge.closed
    assert chat.answer.count("alpha") < 100_000


def test_the_pane_marks_the_literal_quote_of_the_chosen_source() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        assert marked(app) == SEAL
        await pilot.press("ctrl+o", "2")
        assert marked(app) == TYPE
        await pilot.press("right")
        assert marked(app) == MOTOR
        await pilot.press("right", "left")
        assert marked(app) == MOTOR
        shown = screen_text(app)
        assert "[3] of 3  pump-1.md" in shown
        assert f"{MANUAL.index(MOTOR)}–{MANUAL.index(MOTOR) + len(MOTOR)}" in shown
        await pilot.press("escape")
        assert app.focused is prompt(app)
        await send(pilot, "/sources 1")
        assert marked(app) == SEAL
        await pilot.press("escape")
        await send(pilot, "/sources 7")
        assert "This answer has the sources 1 to 3." in screen_text(app)

    drive(session(f"{SEAL} {MOTOR}", knowledge=FakeIndex(MANUAL)), play)


def test_a_click_on_a_mark_shows_its_source() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        await click(pilot, r"230 V\. \[(3)\]", lambda: marked(app) == MOTOR)

    drive(session(MOTOR, knowledge=FakeIndex(MANUAL)), play)


def test_words_appear_while_somebody_types_without_a_pause() -> None:
    words = [f"word{i}" for i in range(10_000)]

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "a long story")
        await until(pilot, lambda: "word0" in screen_text(app))
        seen = set()
        while len(seen) <= 5 and app.session.state != "ready":
            await pilot.press("x")
            seen.add(re.findall(r"word\d+", screen_text(app))[-1])
        assert len(seen) > 5, seen
        await pilot.press("escape")
        await answered(app, pilot)

    drive(session(engine=ScriptedEngine([" ".join(words)], delay=0.01)), play)


def test_going_on_to_further_passages_is_shown_until_the_words_come() -> None:
    gate = threading.Event()

    def reply(prompt: str) -> str:
        if prompt.count(VALVES) == 1:
            return "The passage does not tell."
        assert gate.wait(20)
        return SEAL

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await until(pilot, lambda: "What was read does not tell; reading one more" in screen_text(app))
        gate.set()
        await answered(app, pilot)
        assert "does not tell" not in screen_text(app)

    drive(session(knowledge=FakeIndex(MANUAL, MANUAL), engine=large(by=reply)), play)


def test_the_quote_is_in_view_on_a_small_terminal() -> None:
    long = MANUAL.replace("## Maintenance", "Some more words about pumps.\n\n" * 60 + "## Maintenance")

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        assert not app.query_one(SourcesPane).display
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Replace the shaft seal" in screen_text(app))
        assert "how often?" not in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "how often?" in screen_text(app) or "Nearest in your documents" in screen_text(app))
        assert app.focused is prompt(app)

    drive(session(SEAL, knowledge=FakeIndex(long)), play, size=(80, 24))


def test_resizing_moves_the_sources_beside_or_behind_the_conversation() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        pane = app.query_one(SourcesPane)
        assert pane.display
        for width, height, beside in ((80, 24, False), (100, 30, True), (40, 10, False), (200, 60, True)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert pane.display is beside
            rows = screen_text(app).splitlines()
            assert len(rows) == height
            assert "Enter send" in rows[-1]
            assert max(map(len, rows)) <= width

    drive(session(knowledge=FakeIndex(MANUAL)), play)


def test_commands() -> None:
    engine = ScriptedEngine(["the answer is here"])

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/nonsense")
        assert "There is no /nonsense; /help lists" in screen_text(app)
        await send(pilot, "/help")
        await until(pilot, lambda: "that source" in screen_text(app))
        shown = str(app.query_one(HelpNote).render())
        assert all(command.usage in shown for command in app.commands.values())
        await send(pilot, "/docs")
        await until(pilot, lambda: "pump-1.md" in screen_text(app))
        await pilot.press("escape")
        await send(pilot, "/copy")
        await until(pilot, lambda: "no answer yet" in screen_text(app))
        await send(pilot, "cucumber?")
        await answered(app, pilot)
        await send(pilot, "/copy")
        assert app.clipboard == "the answer is here"
        await send(pilot, "/new")
        await until(pilot, lambda: "cucumber" not in screen_text(app))
        await send(pilot, " /etc what is it?")
        await answered(app, pilot)
        assert "cucumber" not in engine.prompts[-1]
        assert "/etc what is it?" in engine.prompts[-1]
        await send(pilot, "/quit")
        await until(pilot, lambda: not app.is_running)

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL)), play)


def test_a_new_conversation_in_the_middle_of_an_answer() -> None:
    engine = ScriptedEngine(["alpha " * 5000, "second"], delay=0.005)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        await send(pilot, "/new")
        await send(pilot, "next")
        await until(pilot, lambda: "second" in screen_text(app))
        assert "alpha" not in screen_text(app)
        assert "alpha" not in engine.prompts[1]

    drive(session(engine=engine, sampling=Sampling(max_tokens=10_000)), play)


def test_several_lines_and_earlier_lines() -> None:
    engine = ScriptedEngine(["yes"])

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await pilot.press(*"one", "ctrl+j", *"two", "enter")
        await answered(app, pilot)
        assert "one\ntwo" in engine.prompts[0]
        await pilot.press(*"draft", "up")
        assert prompt(app).text == "one\ntwo"
        await pilot.press("up", "up")
        assert prompt(app).text == "one\ntwo"
        await pilot.press("down", "down")
        assert prompt(app).text == "draft"
        await pilot.press("ctrl+c")
        assert prompt(app).text == ""
        await pilot.press("enter", "ctrl+c")
        await until(pilot, lambda: "Ctrl+Q leaves" in screen_text(app))

    drive(session(engine=engine), play)


def test_a_model_that_fails_leaves_a_word_and_the_evidence() -> None:
    def broken() -> Model:
        raise ModelError("there is no model yet; run: edge models pull starter")

    async def play(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: "edge models pull starter" in screen_text(app))
        assert "no model" in screen_text(app).splitlines()[-2]
        await send(pilot, "how often?")
        await answered(app, pilot)
        shown = screen_text(app)
        assert SEAL in shown
        assert "these are the documents' own words" in shown

    drive(session(open_model=broken, knowledge=FakeIndex(MANUAL)), play)


def test_adding_documents_shows_progress_and_what_failed(tmp_path: Path) -> None:
    gate = threading.Event()
    knowledge = FakeIndex(wait=gate)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/add /a.md /scan.pdf")
        await until(pilot, lambda: "0 of 2" in screen_text(app))
        assert "adding 0 of 2" in screen_text(app)
        await pilot.press(*"busy")
        assert "busy" in screen_text(app)
        gate.set()
        await until(pilot, lambda: "1 added" in screen_text(app))
        shown = screen_text(app)
        assert "1 could not be read" in shown
        assert "/scan.pdf: has pages but no text" in shown
        assert "1 document" in shown.splitlines()[-2]
        prompt(app).replace_all("")
        await pilot.press("ctrl+l")
        await pilot.pause()
        (tmp_path / "b.md").write_text("x")
        app.screen.query_one(Input).value = str(tmp_path / "b")
        await until(pilot, lambda: "b.md" in screen_text(app), "the path's completion")
        await pilot.press("end", "right", "enter")
        await until(pilot, lambda: str(tmp_path / "b.md") in knowledge.texts)
        await send(pilot, "/add /nothing")
        await until(pilot, lambda: "nothing to read" in screen_text(app))

    drive(session(knowledge=knowledge), play)
    assert len(knowledge.threads) == 1
    assert threading.get_ident() not in knowledge.threads


def test_escape_ends_a_waiting_question_first_and_adding_second() -> None:
    gate = threading.Event()
    knowledge = FakeIndex(wait=gate)
    engine = ScriptedEngine(["Hello."])

    async def play(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: "adding 0 of 2" in screen_text(app))
        await send(pilot, "how often?")
        assert "Waiting until everything is loaded" in screen_text(app)
        await pilot.press("escape")
        gate.set()
        await until(pilot, lambda: "2 added" in screen_text(app))
        gate.clear()
        await send(pilot, "/add /c.md /d.md")
        await until(pilot, lambda: "adding 0 of 2" in screen_text(app))
        await pilot.press("escape")
        gate.set()
        await until(pilot, lambda: "what was finished is kept" in screen_text(app))

    drive(session(engine=engine, knowledge=knowledge, documents=["/a.md", "/b.md"]), play)
    assert engine.prompts == []
    assert "/b.md" in knowledge.texts
    assert "/d.md" not in knowledge.texts


def test_a_burst_of_words_does_not_hold_up_the_keys() -> None:
    """Thousands of tokens come faster than anyone reads; keys are handled long before the last is drawn."""
    text = ("**word** and `more`. " * 10 + "\n\n") * 100
    engine = ScriptedEngine([text], delay=0.0005)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        view = app.query(AnswerView).last()
        await until(pilot, lambda: view.query(Markdown))
        for letter in "meanwhile":  # not pilot.press, which waits until every widget is idle
            app.post_message(events.Key(letter, letter))
        while prompt(app).text != "meanwhile":
            await asyncio.sleep(0.002)
        assert not view.over
        await answered(app, pilot)
        assert view.query_one(Markdown).source.count("**word**") == 1000

    drive(session(engine=engine, sampling=Sampling(max_tokens=100_000)), play)


def test_tags_are_text_and_escape_sequences_never_reach_the_terminal() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go [bold]now[/bold]")
        await answered(app, pilot)
        shown = screen_text(app)
        assert "List<int> is" in shown
        assert "[bold]now[/bold]" in shown
        assert "\x1b" not in "".join(str(child.render()) for child in app.query(Static))

    drive(session("A List<int> is \x1b]0;owned\x07 here.\n\n```\n\x1b[31mred\n```\n"), play)


def test_another_adapter_answers_when_it_is_named_or_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_HOME", str(tmp_path))
    kept = tmp_path / "adapters" / "legal.gguf"
    kept.parent.mkdir()
    kept.touch()
    engine = ScriptedEngine(["yes"])
    asked: list[str | None] = []
    stream = engine.stream

    def recording(prompt_text: str, sampling: Sampling, adapter: Any, prefix_boundaries: Any = ()) -> Any:
        asked.append(adapter.name if adapter else None)
        return stream(prompt_text, sampling, adapter)

    monkeypatch.setattr(engine, "stream", recording)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/adapter legal")
        await until(pilot, lambda: "tiny + legal" in screen_text(app))
        await send(pilot, "one")
        await answered(app, pilot)
        await send(pilot, "/adapter")
        await until(pilot, lambda: "Who answers?" in screen_text(app))
        await pilot.press("up", "enter")
        await until(pilot, lambda: "The plain base answers" in screen_text(app))
        assert "tiny + legal" not in screen_text(app)
        await send(pilot, "two")
        await until(pilot, lambda: len(asked) == 2)
        await answered(app, pilot)
        await send(pilot, "/adapter nonsense")
        await until(pilot, lambda: "no adapter called 'nonsense'" in screen_text(app))
        await send(pilot, "/adapter legal")
        await until(pilot, lambda: "tiny + legal" in screen_text(app))

    drive(session(open_model=lambda: Model(engine, name="tiny")), play)
    assert asked == ["legal", None]


def test_pages_and_the_palette() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        bottom = app.conversation.scroll_y
        assert bottom > 0
        await pilot.press("pageup")
        await until(pilot, lambda: app.conversation.scroll_y < bottom)
        await pilot.press("pagedown")
        await until(pilot, lambda: app.conversation.scroll_y == bottom)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"begin a new")
        await until(pilot, lambda: "/new" in screen_text(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: not app.query(AnswerView))

    drive(session(engine=ScriptedEngine(["word and more. " * 400])), play)
