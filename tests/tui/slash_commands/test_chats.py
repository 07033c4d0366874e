"""Kept chats in the app, by slash commands and keys, and what a person then sees."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, OptionList

from edge.engines.scripted import ScriptedEngine
from edge.types import Sampling
from edge_tui.app.app import ChatApp
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.conversation import Question
from edge_tui.history import database
from edge_tui.history.records import ChatMessage, Turn, now
from edge_tui.history.store import Store
from edge_tui.session.chat_history import CUT_OFF, LATEST, ChatHistory
from edge_tui.session.events import Event
from edge_tui.session.session import Session
from support.chat.driving import answered, drive, prompt, ready
from support.chat.fakes import MANUAL, SEAL, TYPE, FakeIndex, screen_text, send, session, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.sqlite"


def kept_session(path: Path | None, *replies: str, reopen: int | None = None, **more: Any) -> Session:
    engine = more.pop("engine", None) or ScriptedEngine(replies or ["one", "two", "three", "four", "five"])
    return session(engine=engine, history=ChatHistory(path, reopen=reopen), **more)


async def ask(app: ChatApp, pilot: Any, *questions: str) -> None:
    for question in questions:
        before = len(app.query(AnswerView))
        await send(pilot, question)
        await until(pilot, lambda before=before: len(app.query(AnswerView)) == before + 1)
        await answered(app, pilot)


async def shows(app: ChatApp, pilot: Any, *texts: str, gone: tuple[str, ...] = ()) -> None:
    """Until the texts stand on the screen in this order, and others do not."""

    def true() -> bool:
        shown = screen_text(app)
        places = [shown.find(text) for text in texts]
        return -1 not in places and places == sorted(places) and not any(text in shown for text in gone)

    await until(pilot, true, f"{texts}, without {gone}")


def test_a_chat_comes_back_as_it_was_with_its_sources(path: Path) -> None:
    async def first(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "how often?", "[b]and[/b] then?")

    async def again(app: ChatApp, pilot: Any) -> None:
        await shows(
            app, pilot, "how often?", "Nearest in your documents", SEAL, "[b]and[/b] then?", "Keep it.", "Back in"
        )
        await pilot.press("ctrl+o", "2")
        await shows(app, pilot, "[2] of 2", "pump-1.md")
        assert TYPE in screen_text(app)
        await pilot.press("escape")
        await send(pilot, "/copy")
        assert app.clipboard == "Keep it."

    drive(kept_session(path, SEAL, "Keep it.", knowledge=FakeIndex(MANUAL)), first)
    drive(kept_session(path, reopen=LATEST), again)


def test_an_answer_that_a_kill_cut_off_is_marked(path: Path) -> None:
    with Store(path) as store:
        cut = Turn(
            ChatMessage("user", "why?", now(), sent="why?"), ChatMessage("assistant", "", now(), state="partial")
        )
        store.append(store.put(store.create("why?"), cut).answer.id, 0, "Because of ru")

    async def play(app: ChatApp, pilot: Any) -> None:
        await shows(app, pilot, "why?", "Because of ru", CUT_OFF)
        await ready(app, pilot)
        await send(pilot, "/retry")
        await shows(app, pilot, "why?", "Because of rust.", gone=(CUT_OFF,))
        assert len(app.query(Question)) == 1

    drive(kept_session(path, "Because of rust.", reopen=LATEST), play)


def test_the_list_opens_and_the_search_finds(path: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "cucumber?")
        await send(pilot, "/new")
        await ask(app, pilot, "bicycle?")
        await send(pilot, "/chats")
        rows = app.screen.query_one(OptionList)
        await until(pilot, lambda: rows.option_count == 2)
        await pilot.press("down", "enter")
        await shows(app, pilot, "cucumber?", "one", gone=("bicycle?",))
        await send(pilot, "/search bicy")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
        assert app.screen.query_one(Input).value == "bicy"
        await pilot.press("enter")
        await shows(app, pilot, "bicycle?", "two", gone=("cucumber?",))
        await send(pilot, "/continue")
        await shows(app, pilot, "cucumber?", "one", gone=("bicycle?",))
        assert prompt(app).has_focus

    drive(kept_session(path), play)


def test_the_open_chat_deleted_in_the_list_leaves_the_screen(path: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "cucumber?")
        await send(pilot, "/chats")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
        await pilot.press("ctrl+d")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 0)
        await pilot.press("escape")
        await shows(app, pilot, "Ask a question", gone=("cucumber?",))
        await send(pilot, "/undo")
        await shows(app, pilot, "cucumber?", "one")

    drive(kept_session(path), play)


def test_rename_and_delete_and_undo(path: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "cucumber?")
        await send(pilot, "/rename Salad")
        await shows(app, pilot, "This chat is called “Salad”.")
        await send(pilot, "/rename")
        await until(pilot, lambda: prompt(app).text == "Salad")
        await send(pilot, "s")
        await shows(app, pilot, "This chat is called “Salads”.")
        await send(pilot, "/rename")
        await pilot.press("escape")
        assert prompt(app).text == ""
        await send(pilot, "/delete")
        await shows(app, pilot, "“Salads” is deleted; /undo brings it back.", gone=("cucumber?",))
        await send(pilot, "/undo")
        await shows(app, pilot, "cucumber?", "one", "Back in “Salads”")

    drive(kept_session(path), play)


def test_edit_retry_and_undo(path: Path) -> None:
    engine = ScriptedEngine(["one", "two", "three", "four", "five"])

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/retry")
        await shows(app, pilot, "no question in this chat yet")
        await ask(app, pilot, "alpha?", "beta?")
        await send(pilot, "/retry")
        await shows(app, pilot, "alpha?", "one", "beta?", "three", gone=("two",))
        await answered(app, pilot)
        await send(pilot, "/edit")
        await shows(app, pilot, "Which question do you want to edit?", "1  alpha?", "2  beta?")
        await pilot.press("escape")
        await send(pilot, "/edit 9")
        await shows(app, pilot, "This chat has the questions 1 to 2.")
        await send(pilot, "/edit 1")
        await until(pilot, lambda: prompt(app).text == "alpha?")
        await send(pilot, " gamma?")
        await shows(app, pilot, "alpha? gamma?", "four", gone=("one", "beta?", "three"))
        await answered(app, pilot)
        assert len(app.query(Question)) == 1
        assert "beta?" not in engine.prompts[-1]
        await send(pilot, "/undo")
        await shows(app, pilot, "alpha?", "one", "beta?", "three", "What was replaced is back.", gone=("gamma",))
        await send(pilot, "/edit 2")
        await until(pilot, lambda: prompt(app).text == "beta?")
        prompt(app).replace_all("")
        await send(pilot, "/copy")  # whoever does something else does not edit any more
        await ask(app, pilot, "delta?")
        await shows(app, pilot, "alpha?", "one", "beta?", "three", "delta?", "five")

    drive(kept_session(path, engine=engine), play)


def test_fork_by_choosing_and_by_number(path: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "alpha?", "beta?")
        await send(pilot, "/fork")
        await shows(app, pilot, "After which question", "1  alpha?", "2  beta?")
        await pilot.press("up", "enter")
        await shows(app, pilot, "alpha?", "one", "“alpha?” stays as it is", gone=("beta?",))
        await ask(app, pilot, "gamma?")
        await send(pilot, "/fork 1")
        await shows(app, pilot, "alpha?", "one", gone=("gamma?",))

    drive(kept_session(path), play)
    with Store(path) as store:
        titles = [entry.title for entry in store.chats()]
        assert titles == ["alpha? (fork) (fork)", "alpha? (fork)", "alpha?"]


def test_good_bad_correct_and_export(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "/correct")
        await shows(app, pilot, "no answer in this chat yet")
        await ask(app, pilot, "alpha?", "beta?")
        await send(pilot, "/good")
        await shows(app, pilot, "Answer 2 is marked good; `edge chats export --training` takes it.")
        await send(pilot, "/bad 1")
        await shows(app, pilot, "Answer 1 is marked bad.")
        await send(pilot, "/correct")
        await until(pilot, lambda: prompt(app).text == "two")
        await send(pilot, " and a half")
        await shows(app, pilot, "Answer 2 should have been: two and a half")
        await send(pilot, "/correct 2.5")
        await shows(app, pilot, "Answer 2 should have been: 2.5")
        await send(pilot, "/export")
        await shows(app, pilot, "Written to")
        await send(pilot, "/save my.json")
        await until(pilot, (tmp_path / "my.json").exists)

    drive(kept_session(path), play)
    assert "**It should have been:**\n\n2.5" in (tmp_path / "alpha.md").read_text()
    with Store(path) as store:
        assert [(turn.answer.mark, turn.approved) for turn in store.turns(1)] == [("bad", None), ("good", "2.5")]


def test_nothing_of_it_disturbs_an_answer_that_is_being_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        monkeypatch.setattr(app, "notify", lambda message, **_: said.append(message))
        for name, argument in (("retry", ""), ("edit", ""), ("fork", ""), ("continue", ""), ("undo", ""), ("good", "")):
            app.commands[name].run(app.view, argument)
            assert said.pop() == "Still answering; Esc stops it."
            assert len(app.screen_stack) == 1
        assert app.session.state == "answering"
        await send(pilot, "/chats")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
        await pilot.press("enter")
        await pilot.press("escape")

    engine = ScriptedEngine(["alpha " * 5000], delay=0.05)
    drive(kept_session(path, engine=engine, sampling=Sampling(max_tokens=10_000)), play)
    with Store(path) as store:
        (turn,) = store.turns(1)
    assert turn.answer.state == "cancelled"
    assert turn.answer.text.count("alpha") > 1


def test_a_question_asked_while_another_chat_is_opened_stays(path: Path) -> None:
    with Store(path) as store:
        number = store.create("old")
        store.put(number, Turn(ChatMessage("user", "cucumber?", now()), ChatMessage("assistant", "one", now())))

    gate = threading.Event()

    def busy() -> Iterator[Event]:
        assert gate.wait(20)
        yield from ()

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        app.submit(busy(), None)
        app.submit(app.session.from_history(app.session.history.reopen(number)), None)
        await send(pilot, "and now?")
        gate.set()
        await shows(app, pilot, "cucumber?", "one", "and now?", "next")

    drive(kept_session(path, "next"), play)
    with Store(path) as store:
        assert [turn.question.text for turn in store.turns(number)] == ["cucumber?", "and now?"]


def test_a_long_chat_is_drawn_from_its_end_and_can_be_left_meanwhile(path: Path) -> None:
    with Store(path) as store:
        number = store.create("long")
        for at in range(80):
            asked = ChatMessage("user", f"question {at}?", now())
            store.put(number, Turn(asked, ChatMessage("assistant", f"answer **{at}**", now())))

    async def play(app: ChatApp, pilot: Any) -> None:
        await shows(app, pilot, "question 79?", "answer 79")
        assert len(app.query(Question)) < 80
        await pilot.press(*"typing")
        assert prompt(app).text == "typing"
        prompt(app).replace_all("")
        await send(pilot, "/new")
        await shows(app, pilot, "Ask a question", gone=("question 7",))
        await pilot.pause()
        assert not app.query(Question)

    drive(kept_session(path, reopen=LATEST), play)


def test_an_edit_while_a_long_chat_is_drawn(path: Path) -> None:
    with Store(path) as store:
        number = store.create("long")
        for at in range(1, 41):
            asked = ChatMessage("user", f"question {at}?", now())
            store.put(number, Turn(asked, ChatMessage("assistant", f"answer **{at}**", now())))

    async def play(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: app.query(Question) and app.session.state == "ready")
        app.view.ask("at last?", instead_of=4)
        await shows(app, pilot, "question 1?", "answer 1", "question 2?", "question 3?", "at last?", "one")
        assert len(app.query(Question)) == 4

    drive(kept_session(path, reopen=LATEST), play)


def test_leaving_while_a_long_chat_is_drawn(path: Path) -> None:
    with Store(path) as store:
        number = store.create("long")
        for at in range(60):
            asked = ChatMessage("user", f"question {at}?", now())
            store.put(number, Turn(asked, ChatMessage("assistant", f"answer **{at}**", now())))

    async def play(app: ChatApp, pilot: Any) -> None:
        await until(pilot, lambda: app.query(Question))
        await pilot.press("ctrl+q")

    drive(kept_session(path, reopen=LATEST), play)


def test_a_locked_file_is_said_in_the_app_and_the_chat_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.01)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "alpha?")
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        await ask(app, pilot, "beta?")
        await shows(app, pilot, "alpha?", "one", "beta?", "two")
        assert "locked by another program" in " ".join(screen_text(app).split())
        lock.execute("ROLLBACK")
        lock.close()
        await ask(app, pilot, "gamma?")
        await shows(app, pilot, "three", "This chat is kept again.")

    drive(kept_session(path), play)
    with Store(path) as store:
        assert [turn.question.text for turn in store.turns(1)] == ["alpha?", "beta?", "gamma?"]


@pytest.mark.parametrize("line", ["/chats", "/continue", "/undo"])
def test_where_chats_are_not_kept_it_says_so(line: str) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await ask(app, pilot, "alpha?")
        await send(pilot, line)
        await shows(app, pilot, "--no-keep")

    drive(kept_session(None), play)


def test_each_makes_sense_of_an_empty_line(path: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        for name in ("chats", "search", "rename", "delete", "undo", "fork", "edit", "retry", "good", "correct", "save"):
            prompt(app).replace_all("")
            await send(pilot, f"/{name}")
            await pilot.press("escape")
            await pilot.press("escape")
        assert app.is_running

    drive(kept_session(path), play)
