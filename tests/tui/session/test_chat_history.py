"""Chats are kept by the session as they go, and come back as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge.engines.scripted import ScriptedEngine
from edge.errors import UsageError
from edge.model import Model
from edge_tui.history import database
from edge_tui.history.database import set_aside
from edge_tui.history.records import Turn
from edge_tui.history.store import Store
from edge_tui.session.chat_history import CUT_OFF, LATEST, ChatHistory, finished
from edge_tui.session.events import Error, Event, Finished, Found, Notice, Opened, Words
from edge_tui.session.session import Session
from small_disk import small_disk
from support.chat.fakes import MANUAL, SEAL, FakeIndex, of, opened, session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.sqlite"


def begun(path: Path | None, *replies: str, reopen: int | None = None, **more: Any) -> tuple[Session, list[Event]]:
    """A session that keeps its chat in `path`, opened, and what it told of that."""
    engine = more.pop("engine", None) or ScriptedEngine(replies or ["one", "two", "three"])
    chat = session(engine=engine, history=ChatHistory(path, index="/documents", reopen=reopen), **more)
    return chat, opened(chat)


def asked(chat: Session, *questions: str, **how: Any) -> list[Event]:
    return [event for question in questions for event in chat.ask(question, **how)]


def done(chat: Session, job: Iterator[Event]) -> list[Event]:
    return list(chat.from_history(job))


def texts(turns: Iterable[Turn]) -> list[tuple[str, str]]:
    return [(turn.question.text, turn.answer.text) for turn in turns]


def stored(path: Path, number: int = 1) -> list[tuple[str, str]]:
    with Store(path) as store:
        return texts(store.turns(number))


def notes(events: Iterable[Event]) -> str:
    return "\n".join(event.note for event in events if isinstance(event, Notice | Opened))


def test_a_chat_that_is_gone_on_with_sends_what_it_would_have_sent(path: Path) -> None:
    """The prompt of the third question is the same, letter by letter, whether the app was left in between or not."""
    prompts = []
    for place in (None, path):
        engine = ScriptedEngine([SEAL, "The second.", "The third."])
        chat, _ = begun(place, engine=engine, knowledge=FakeIndex(MANUAL), system="Be brief.")
        asked(chat, "how often?", "and then?")
        if place is not None:
            list(chat.close())
            chat, events = begun(place, engine=engine, knowledge=FakeIndex(MANUAL), reopen=LATEST)
            assert texts(of(Opened, events)[0].turns) == [("how often?", SEAL), ("and then?", "The second.")]
            assert chat.answer == "The second."
        asked(chat, "at last?")
        prompts.append(engine.prompts[-1])
    assert "Passages:" in prompts[0]
    assert prompts[0] == prompts[1]
    with Store(path) as store:
        (entry,) = store.chats()
    assert (entry.title, entry.model, entry.index, entry.system) == ("how often?", "tiny", "/documents", "Be brief.")
    assert entry.questions == 3


def test_what_is_drawn_again_is_what_was_drawn(path: Path) -> None:
    chat, _ = begun(path, f"{SEAL} Keep a spare.", knowledge=FakeIndex(MANUAL))
    events = asked(chat, "how often?")
    before = of(Finished, events)[0]
    (turn,) = begun(path, reopen=LATEST)[0].history.turns
    after = finished(turn.answer)
    assert (after.end, after.markdown, after.sources, after.notes) == (
        before.end,
        before.markdown,
        before.sources,
        before.notes,
    )
    assert turn.answer.sources[: turn.answer.found] == of(Found, events)[-1].sources
    assert turn.answer.usage is not None
    assert turn.answer.usage.completion_tokens == 12
    assert turn.answer.context_usage is not None
    assert turn.answer.context_usage.limit == 4096


def test_every_piece_is_on_the_disk_before_it_can_be_drawn(path: Path) -> None:
    chat, _ = begun(path, "alpha beta gamma delta", knowledge=FakeIndex(MANUAL))
    shown = ""
    for event in chat.ask("go"):
        (turn,) = begun_turns(path)
        if isinstance(event, Found):
            assert turn.answer.sources == event.sources
        if isinstance(event, Words):
            shown += event.text
            assert turn.answer.text == shown
            assert turn.answer.state == "partial"
            assert finished(turn.answer).notes == (CUT_OFF,)
    assert begun_turns(path)[0].answer.state == "complete"


def begun_turns(path: Path) -> list[Turn]:
    with Store(path) as store:
        return store.turns(1)


def test_control_characters_are_kept_as_the_model_said_them(path: Path) -> None:
    chat, _ = begun(path, "a \x1b[2J b")
    asked(chat, "go")
    assert stored(path) == [("go", "a \x1b[2J b")]
    assert "\x1b" not in finished(begun_turns(path)[0].answer).markdown


@pytest.mark.parametrize(("after", "state"), [(0, "cancelled"), (3, "cancelled")])
def test_a_stopped_answer_is_marked_and_goes_on_from_there(path: Path, after: int, state: str) -> None:
    engine = ScriptedEngine(["word " * 50, "next"])
    chat, _ = begun(path, engine=engine)
    seen = 0
    if not after:
        waiting = chat.ask("go")
        chat.stop()
        list(waiting)
    else:
        for event in chat.ask("go"):
            seen += isinstance(event, Words)
            if seen == after:
                chat.stop()
    (turn,) = begun_turns(path)
    assert (turn.answer.state, turn.answer.text) == (state, " ".join(["word"] * after))
    again, _ = begun(path, engine=engine, reopen=LATEST)
    asked(again, "more")
    assert ("word word word" in engine.prompts[-1]) is bool(after)
    assert ("\ngo\n" in engine.prompts[-1]) is bool(after)


def test_a_question_that_fails_is_kept_with_the_reason(path: Path) -> None:
    chat, _ = begun(path, engine=ScriptedEngine(["fine"], context=60))
    failure = of(Error, asked(chat, "word " * 200))[0]
    (turn,) = begun_turns(path)
    assert (turn.answer.state, turn.answer.notes) == ("failed", (failure.message,))
    assert of(Finished, asked(begun(path, "fine", reopen=LATEST)[0], "short"))[0].markdown == "fine"


def test_retry_and_edit_give_way_and_undo_brings_back(path: Path) -> None:
    engine = ScriptedEngine(["one", "two", "three", "four", "five"])
    chat, _ = begun(path, engine=engine)
    asked(chat, "a", "b", "c")
    asked(chat, "c", instead_of=3)
    assert stored(path) == [("a", "one"), ("b", "two"), ("c", "four")]
    asked(chat, "B!", instead_of=2)
    assert stored(path) == [("a", "one"), ("B!", "five")]
    assert "two" not in engine.prompts[-1]
    assert "one" in engine.prompts[-1]
    done(chat, chat.history.undo())
    assert stored(path) == texts(chat.history.turns) == [("a", "one"), ("b", "two"), ("c", "four")]
    (event,) = of(Opened, done(chat, chat.history.undo()))
    assert stored(path) == texts(event.turns) == [("a", "one"), ("b", "two"), ("c", "three")]
    asked(chat, "d")
    assert all(word in engine.prompts[-1] for word in ("one", "two", "three"))
    with pytest.raises(UsageError, match="1 to 4"):
        asked(chat, "x", instead_of=9)


def test_what_gave_way_comes_back_after_the_app_was_left(path: Path) -> None:
    chat, _ = begun(path, "one", "two", "three")
    asked(chat, "a", "b")
    asked(chat, "c", instead_of=1)
    chat, _ = begun(path, "four", reopen=LATEST)
    assert texts(chat.history.turns) == [("c", "three")]
    done(chat, chat.history.undo())
    assert stored(path) == texts(chat.history.turns) == [("a", "one"), ("b", "two")]
    assert "nothing to bring back" in notes(done(chat, chat.history.undo()))


def test_a_retry_while_the_file_is_locked_is_kept_as_one_step_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.01)
    chat, _ = begun(path)
    asked(chat, "a", "b")
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert of(Finished, asked(chat, "b", instead_of=2))[0].markdown == "three"
    lock.execute("ROLLBACK")
    lock.close()
    assert stored(path) == [("a", "one"), ("b", "two")]
    list(chat.clear())
    assert stored(path) == [("a", "one"), ("b", "three")]


def test_a_fork_leaves_the_chat_as_it_is(path: Path) -> None:
    engine = ScriptedEngine(["one", "two", "three", "four"])
    chat, _ = begun(path, engine=engine)
    asked(chat, "a", "b", "c")
    (event,) = of(Opened, done(chat, chat.history.fork(1)))
    assert texts(event.turns) == [("a", "one")]
    asked(chat, "d")
    assert "two" not in engine.prompts[-1]
    assert stored(path, 1) == [("a", "one"), ("b", "two"), ("c", "three")]
    assert stored(path, 2) == [("a", "one"), ("d", "four")]
    with Store(path) as store:
        assert [entry.title for entry in store.chats()] == ["a (fork)", "a"]


def test_rename_delete_undo_and_the_chat_before(path: Path) -> None:
    chat, _ = begun(path)
    asked(chat, "a")
    done(chat, chat.history.rename("Pumps"))
    list(chat.clear())
    asked(chat, "b")
    (event,) = of(Opened, done(chat, chat.history.reopen()))
    assert "Pumps" in event.note
    assert chat.answer == "one"
    assert "Pumps" in notes(done(chat, chat.history.delete()))
    list(chat.clear())
    with Store(path) as store:
        assert [entry.title for entry in store.chats()] == ["b"]
    (event,) = of(Opened, done(chat, chat.history.undo()))
    assert texts(event.turns) == [("a", "one")]
    assert "nothing to bring back" in notes(done(chat, chat.history.undo()))
    with pytest.raises(UsageError, match="no chat 99"):
        done(chat, chat.history.reopen(99))


def test_a_name_that_was_given_before_the_first_question(path: Path) -> None:
    chat, _ = begun(path)
    done(chat, chat.history.rename("Pumps"))
    asked(chat, "a")
    with Store(path) as store:
        assert store.chat(1).title == "Pumps"


def test_marks_and_corrections(path: Path) -> None:
    chat, _ = begun(path)
    asked(chat, "a", "b")
    assert "Answer 2 is marked good" in notes(done(chat, chat.history.mark("good")))
    done(chat, chat.history.correct("uno", 1))
    one, two = begun_turns(path)
    assert (one.answer.mark, one.approved, two.answer.mark, two.approved) == (None, "uno", "good", "two")
    with Store(path) as store:
        assert [hit.chat.id for hit in store.search("uno")] == [1]


def test_a_mark_leaves_who_answered_as_it_was(path: Path) -> None:
    chat, _ = begun(path, "one", system="Be brief.")
    asked(chat, "a")
    list(chat.close())
    with Store(path) as store:
        before = store.chat(1)
    chat = Session(lambda: Model(ScriptedEngine(["x"]), name="other"), history=ChatHistory(path, reopen=LATEST))
    opened(chat)
    done(chat, chat.history.mark("good"))
    with Store(path) as store:
        after = store.chat(1)
    assert (after.model, after.system) == (before.model, before.system) == ("tiny", "Be brief.")


def test_a_chat_is_written_to_a_file(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chat, _ = begun(path)
    assert "nothing to write" in notes(done(chat, chat.history.export()))
    asked(chat, "Why so?")
    assert "why-so.md" in notes(done(chat, chat.history.export()))
    assert "## Why so?\n\none" in (tmp_path / "why-so.md").read_text()
    done(chat, chat.history.export(tmp_path / "a.json"))
    assert '"text": "one"' in (tmp_path / "a.json").read_text()
    with pytest.raises(Exception, match="exists already"):
        done(chat, chat.history.export(tmp_path / "a.json"))


def test_the_systems_words_of_a_chat_count_again(path: Path) -> None:
    engine = ScriptedEngine(["yes"])
    chat, _ = begun(path, engine=engine, system="Speak like a pirate.")
    asked(chat, "a")
    chat, _ = begun(path, engine=engine)
    asked(chat, "b")
    assert "pirate" not in engine.prompts[-1]
    done(chat, chat.history.reopen(1))
    asked(chat, "c")
    assert "pirate" in engine.prompts[-1]
    list(chat.clear())
    asked(chat, "d")
    assert "pirate" not in engine.prompts[-1]
    chat, _ = begun(path, engine=engine, system="Be kind.", reopen=1)
    asked(chat, "e")
    assert "Be kind." in engine.prompts[-1]


def test_without_a_history_edit_and_file_still_work(tmp_path: Path) -> None:
    chat, _ = begun(None)
    asked(chat, "a", "b")
    asked(chat, "b!", instead_of=2)
    assert texts(chat.history.turns) == [("a", "one"), ("b!", "three")]
    done(chat, chat.history.export(tmp_path / "a.md"))
    assert "three" in (tmp_path / "a.md").read_text()
    with pytest.raises(Exception, match="--no-keep"):
        done(chat, chat.history.reopen())
    with pytest.raises(Exception, match="--no-keep"):
        chat.history.visit()


def test_a_locked_file_is_said_once_and_everything_is_kept_when_it_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.01)
    chat, _ = begun(path, "one two three", "four five", "six")
    asked(chat, "a")
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    events = asked(chat, "b", "c")
    assert [event.markdown for event in of(Finished, events)] == ["four five", "six"]
    (aside,) = of(Notice, events)
    assert aside.bad
    assert "locked by another program" in aside.note
    assert "/save" in aside.note
    lock.execute("ROLLBACK")
    lock.close()
    assert stored(path) == [("a", "one two three")]
    assert "kept again" in notes(asked(chat, "d"))
    assert stored(path) == [("a", "one two three"), ("b", "four five"), ("c", "six"), ("d", "one two three")]


def test_what_could_not_be_kept_when_the_chat_was_left_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.01)
    chat, _ = begun(path)
    asked(chat, "a")
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    asked(chat, "b")
    assert "What was said last in “a” could not be kept." in notes(chat.clear())
    lock.execute("ROLLBACK")
    lock.close()
    assert "kept again" in notes(asked(chat, "c"))
    assert stored(path, 2) == [("c", "three")]


def test_a_lock_in_the_middle_of_an_answer_holds_no_word_up_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.01)
    chat, _ = begun(path, "one two three four")
    lock = sqlite3.connect(path, isolation_level=None)
    events = []
    for event in chat.ask("a"):
        events.append(event)
        if len(of(Words, events)) == 2 and not lock.in_transaction:
            lock.execute("BEGIN IMMEDIATE")
        if len(of(Words, events)) == 4 and lock.in_transaction:
            assert stored(path) == [("a", "one two")]
            lock.execute("ROLLBACK")
    lock.close()
    assert [aside.bad for aside in of(Notice, events)] == [True, False]
    assert stored(path) == [("a", "one two three four")]


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m", lazy=True) as disk:
        path = disk / "chats.sqlite"
        chat, _ = begun(path, "one", "two")
        asked(chat, "a")
        with (disk / "others").open("ab", buffering=0) as others, suppress(OSError):
            while True:
                others.write(b"x" * 512)
        events = asked(chat, "b" * 400_000)
        assert "free some space" in notes(events)
        assert of(Finished, events)[0].markdown == "two"
        assert stored(path) == [("a", "one")]
        (disk / "others").unlink()
        asked(chat, "c")
        assert stored(path) == [("a", "one"), ("b" * 400_000, "two"), ("c", "one")]
        list(chat.close())


def test_a_file_that_is_damaged_before_the_start_is_set_aside(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    chat, events = begun(path, reopen=LATEST)
    assert "set aside" in notes(events)
    assert "no earlier chat" in notes(events)
    (aside,) = path.parent.glob("chats.damaged-*.sqlite")
    assert aside.read_bytes().startswith(b"this is no database")
    asked(chat, "a")
    assert stored(path) == [("a", "one")]


def test_a_file_that_is_damaged_in_the_middle_is_set_aside_and_the_chat_goes_on(path: Path) -> None:
    chat, _ = begun(path, "one two three", "four five six")
    asked(chat, "a")
    events: list[Event] = []
    for event in chat.ask("b"):
        events.append(event)
        if len(of(Words, events)) == 1 and not of(Notice, events):
            with sqlite3.connect(path) as db:
                db.execute("DROP TABLE pieces")
            db.close()
    assert "set aside" in notes(events)
    asked(chat, "c")
    with Store(path) as store:
        (entry,) = store.chats()
        assert texts(store.turns(entry.id)) == texts(chat.history.turns)
    assert texts(chat.history.turns) == [("a", "one two three"), ("b", "four five six"), ("c", "one two three")]


@pytest.mark.parametrize("how", ["set aside", "deleted"])
def test_a_file_that_another_program_takes_away_in_the_middle_takes_nothing_of_the_chat(path: Path, how: str) -> None:
    chat, _ = begun(path, "one two three", "four five six")
    asked(chat, "a")
    events: list[Event] = []
    taken = False
    for event in chat.ask("b"):
        events.append(event)
        if of(Words, events) and not taken:
            taken = True
            if how == "set aside":
                set_aside(path)
                with Store(path) as other:
                    other.create("of the other")
            else:
                for file in path.parent.glob("chats.sqlite*"):
                    file.unlink()
    assert "removed or replaced by another program" in notes(events)
    list(chat.close())
    with Store(path) as store:
        kept = {entry.title: texts(store.turns(entry.id)) for entry in store.chats()}
    others: dict[str, list[tuple[str, str]]] = {"of the other": []} if how == "set aside" else {}
    assert kept == {"a": [("a", "one two three"), ("b", "four five six")], **others}


def test_a_chat_that_another_app_removed_is_kept_anew(path: Path) -> None:
    chat, _ = begun(path)
    asked(chat, "a")
    with Store(path) as other:
        other.remove([1])
    asked(chat, "b")
    assert stored(path, 2) == [("a", "one"), ("b", "two")]


def test_two_apps_at_once_keep_both(path: Path) -> None:
    here, there = begun(path)[0], begun(path, "uno", "due")[0]
    for one, other in zip(here.ask("a"), there.ask("A"), strict=False):
        assert not isinstance(one, Notice)
        assert not isinstance(other, Notice)
    asked(here, "b")
    asked(there, "B")
    with Store(path) as store:
        assert {tuple(texts(store.turns(entry.id))) for entry in store.chats()} == {
            (("a", "one"), ("b", "two")),
            (("A", "uno"), ("B", "due")),
        }


def test_the_model_breaks_and_what_it_said_stays(path: Path) -> None:
    def broken(_prompt: str) -> str:
        raise RuntimeError("out of luck")

    chat = session(open_model=lambda: Model(ScriptedEngine(broken), name="tiny"), history=ChatHistory(path))
    opened(chat)
    with pytest.raises(RuntimeError):
        asked(chat, "a")
    assert stored(path) == [("a", "")]
    asked(begun(path, "fine", reopen=LATEST)[0], "b")
    assert stored(path) == [("a", ""), ("b", "fine")]
