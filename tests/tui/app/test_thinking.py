"""What a model thinks, as a person meets it: folded in the app, told apart in lines of text, kept beside the answer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.engines.contract import Token
from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge.types import Adapter, Message, Prefill, RagOptions, Sampling
from edge_tui.app.app import ChatApp
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.thoughts import Thoughts
from edge_tui.history.store import Store
from edge_tui.session.chat_history import ChatHistory
from edge_tui.session.events import Finished, FurtherPassages, Thinking, Words
from support.chat.driving import answered, drive, ready
from support.chat.fakes import (
    MANUAL,
    SEAL,
    FakeIndex,
    click,
    large,
    of,
    opened,
    screen_text,
    send,
    session,
    talk,
    until,
)

THOUGHT = "Passage 1 names hours.\n\nSo hours it is."
REPLY = f"<think>\n{THOUGHT}\n</think>\n\n{SEAL}"


class Waits(ScriptedEngine):
    """Thinks, and goes on when it is let."""

    def __init__(self, *replies: str) -> None:
        super().__init__(replies)
        self.go = threading.Event()
        self.thinks: list[bool] = []

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        self.thinks.append(think)
        return super().render(messages, think=think)

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        for event in super().stream(prompt, sampling, adapter, prefix_boundaries):
            yield event
            if isinstance(event, Token) and "hours." in event.text:
                self.go.wait(20)


def test_the_session_tells_thoughts_before_words_and_apart() -> None:
    chat = session(REPLY, knowledge=FakeIndex(MANUAL))
    opened(chat)
    events = list(chat.ask("how often?"))
    assert "".join(event.text for event in of(Thinking, events)) == THOUGHT
    assert "".join(event.text for event in of(Words, events)) == SEAL
    (finished,) = of(Finished, events)
    assert finished.thinking == THOUGHT
    assert "Passage 1" not in finished.markdown
    assert [each.text for each in finished.checked] == [SEAL]
    assert chat.answer == SEAL


def test_what_led_nowhere_is_no_thought_of_the_answer() -> None:
    engine = large("<think>Not here.</think> The passages do not tell.", f"<think>There.</think> {SEAL}")
    chat = session(engine=engine, knowledge=FakeIndex(MANUAL, MANUAL), rag=RagOptions(extra_read_seconds=1e9))
    opened(chat)
    events = list(chat.ask("Does the P-7 or the P-8 take 45 W?"))
    (finished,) = of(Finished, events)
    if of(FurtherPassages, events):
        assert finished.thinking == "There."


def test_thoughts_are_folded_and_open_by_key_and_by_mouse() -> None:
    engine = Waits(REPLY)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await until(pilot, lambda: "tiny · thinking" in screen_text(app), "the status line says so")
        await until(pilot, lambda: "▸ Thinking" in screen_text(app), "and the answer does")
        engine.go.set()
        await answered(app, pilot)
        await until(pilot, lambda: "▸ Thought for" in screen_text(app))
        assert "So hours it is." not in screen_text(app)
        assert SEAL in screen_text(app)
        await pilot.press("f3")
        await until(pilot, lambda: "So hours it is." in screen_text(app))
        await pilot.press("f3")
        await until(pilot, lambda: "So hours it is." not in screen_text(app))
        await click(pilot, "(▸) Thought for", lambda: "So hours it is." in screen_text(app))
        await send(pilot, "/think show")
        await until(pilot, lambda: "So hours it is." not in screen_text(app))
        app.action_command("copy")
        assert app.session.answer == SEAL

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL)), play)


def test_esc_ends_thinking() -> None:
    engine = Waits(REPLY)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await until(pilot, lambda: app.query(Thoughts))
        await pilot.press("escape")
        engine.go.set()
        await answered(app, pilot)
        await until(pilot, lambda: "Stopped" in screen_text(app))
        assert app.session.answer == ""
        assert app.session.history.turns[-1].answer.text == ""

    drive(session(engine=engine, knowledge=FakeIndex(MANUAL)), play)


def test_the_model_thinks_from_the_next_question_on_when_that_is_asked_for() -> None:
    engine = Waits("Yes.")
    engine.go.set()

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        for line in ("one?", "/think on", "two?", "/think off", "three?", "/think perhaps"):
            await send(pilot, line)
            if line.endswith("?"):
                count = "one? two? three?".split().index(line) + 1
                await until(pilot, lambda n=count: sum(view.over for view in app.query(AnswerView)) == n)
        await until(pilot, lambda: "/think takes on, off or show" in screen_text(app))

    drive(session(engine=engine), play)
    assert [engine.thinks[at] for at in (0, len(engine.thinks) // 2, -1)] == [False, True, False]


def test_lines_of_text_tell_that_it_thinks_and_what_only_when_asked() -> None:
    _, out, err = talk("how often?", "/think show", "/think", reply=REPLY, knowledge=FakeIndex(MANUAL))
    answer, shown = out.split("Sources:")
    assert "Passage 1 names" not in answer
    assert THOUGHT in shown
    assert "The model thinks." in err
    assert "/think show tells what." in err
    assert "The model answers at once" in out


def test_thoughts_are_kept_beside_the_answer_and_come_back_folded(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite"
    chat = session(REPLY, knowledge=FakeIndex(MANUAL), history=ChatHistory(path))
    opened(chat)
    list(chat.ask("how often?"))
    list(chat.close())
    with Store(path) as store:
        (turn,) = store.turns(1)
        assert (turn.answer.text, turn.answer.thinking) == (SEAL, THOUGHT)
        assert store.search("names") == []  # nobody said that
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT group_concat(text) FROM texts").fetchone()[0].count("Passage 1") == 0
    db.close()

    async def play(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: "▸ Thought first" in screen_text(app))
        assert "So hours it is." not in screen_text(app)
        await pilot.press("f3")
        await until(pilot, lambda: "So hours it is." in screen_text(app))

    drive(session(knowledge=FakeIndex(MANUAL), history=ChatHistory(path, reopen=1)), play)


def test_a_comparison_shows_thinking_on_its_side() -> None:
    chat = session(open_model=lambda: Model(ScriptedEngine([REPLY]), name="tiny"), knowledge=FakeIndex(MANUAL))

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/compare docs|nodocs how often?")
        await until(pilot, lambda: screen_text(app).count("▸ Thought for") == 2)
        assert "So hours it is." not in screen_text(app)

    drive(chat, play)
