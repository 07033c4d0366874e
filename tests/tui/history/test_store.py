"""Chats in a real SQLite file: what is kept comes back, is found, changed, deleted and brought back."""

from __future__ import annotations

import os
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import StorageError, UsageError
from edge.types import ContextUsage, Dropped, Message, Usage
from edge_tui.history import database
from edge_tui.history.database import set_aside
from edge_tui.history.query import excerpt, terms
from edge_tui.history.records import ChatMessage, Damaged, Gone, Turn, now, title_of
from edge_tui.history.store import Store
from edge_tui.rendering.sources import Source
from small_disk import resize, small_disk

SOURCE = Source(1, "Close both valves.", "/manual.md", 12, "Maintenance", 10, 28, "before ", " after")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "chats.sqlite"


def turn(question: str = "how often?", answer: str = "Every day.", **more: object) -> Turn:
    asked = ChatMessage("user", question, now(), sent=f"Passages: …\n\nQuestion: {question}", system="Be brief.")
    said = ChatMessage("assistant", answer, now(), sent=None, model="tiny")
    return Turn(asked, replace(said, **more))  # type: ignore[arg-type]


def kept(store: Store, *turns: Turn, title: str = "a chat") -> int:
    number = store.create(title, model="tiny")
    for each in turns:
        store.put(number, each)
    return number


def found(store: Store, typed: str) -> list[str]:
    return [hit.chat.title for hit in store.search(typed)]


def test_everything_of_a_chat_comes_back(path: Path) -> None:
    context_usage = ContextUsage(4096, 10, 20, 30, 5, 512, (Dropped("passage x", 44),))
    written = turn(
        shown="Every day. [\\[1\\]](#source-1)",
        sources=(SOURCE,),
        found=1,
        notes=("a note",),
        usage=Usage(10, 5, 3, 0.5, 0.25),
        context_usage=context_usage,
        mark="good",
        correction="Every week.",
        thinking="A day is short.",
        adapter="legal",
    )
    with Store(path) as store:
        number = store.create("Pumps", index="/indexes/default", system="Be kind.")
        put = store.put(number, written)
        store.describe(number, model="tiny", adapter="legal", system="Be kind.")
    with Store(path) as store:
        (entry,) = store.chats()
        assert (entry.title, entry.model, entry.adapter) == ("Pumps", "tiny", "legal")
        assert (entry.index, entry.system, entry.questions) == ("/indexes/default", "Be kind.", 1)
        assert store.turns(number) == [put]
    assert replace(put.question, id=0) == written.question
    assert replace(put.answer, id=0) == written.answer
    assert put.history == (Message("user", written.question.sent or ""), Message("assistant", "Every day."))
    assert put.approved == "Every week."


def test_only_its_owner_can_read_the_file(path: Path) -> None:
    Store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_latest_chat_comes_first_and_talking_makes_it_the_latest(path: Path) -> None:
    with Store(path) as store:
        first, second = kept(store, turn(), title="first"), kept(store, turn(), title="second")
        assert [entry.id for entry in store.chats()] == [second, first]
        store.put(first, turn("and then?"))
        assert [entry.id for entry in store.chats()] == [first, second]


def test_pieces_are_there_at_once_and_are_joined_where_nobody_ended_the_answer(path: Path) -> None:
    writer, reader = Store(path), Store(path)
    number = writer.create("a chat")
    begun = writer.put(number, turn(answer="The ", state="partial"))
    for at, piece in enumerate(["shaft ", "seal\0 ", "\ud83d!"]):  # half a pair, as a terminal can paste it
        writer.append(begun.answer.id, at, piece)
        assert reader.turns(number)[0].answer.text.endswith(piece.replace("\ud83d", "?"))
    reader.tidy()
    writer.append(begun.answer.id, 3, " goes on")
    (back,) = reader.turns(number)
    assert back.answer.text == "The shaft seal\0 ?! goes on"
    assert back.answer.state == "partial"
    assert found(reader, "shaft seal") == ["a chat"]
    writer.put(number, Turn(begun.question, replace(begun.answer, text="The whole.", state="complete")))
    assert reader.turns(number)[0].answer.text == "The whole."
    writer.close()
    reader.close()


@pytest.mark.parametrize(
    ("typed", "titles"),
    [
        ("closing", ["Pump P-7"]),  # a stem
        ("maintena", ["Pump P-7"]),  # half typed
        ("mai", ["Pump P-7"]),
        ("bicy", ["Bicycle"]),  # whose stem begins no stem
        ("p-", ["Pump P-7"]),
        ("pump valves", ["Pump P-7"]),  # one word in the title, one in an answer
        ("valves bicycle", []),
        ("cafe", ["Café"]),
        ("日本語", ["日本"]),
        ("本語の 試験", ["日本"]),
        ("語", ["日本"]),
        ("پانی", ["Urdu"]),
        ('"', []),
        ("?", []),
        ("NEAR( OR *", []),
        ("p-7", ["Pump P-7"]),
        ("", []),
    ],
)
def test_search(path: Path, typed: str, titles: list[str]) -> None:
    with Store(path) as store:
        kept(store, turn("What about maintenance?", "Close both valves."), title="Pump P-7")
        kept(store, turn("Where?", "In Lyon."), title="Café")
        kept(store, title="Bicycle")
        kept(store, turn("これは日本語の試験です"), title="日本")
        kept(store, turn("پانی کہاں ہے؟"), title="Urdu")
        assert found(store, typed) == titles


def test_a_hit_says_where(path: Path) -> None:
    with Store(path) as store:
        kept(store, turn("Why?", f"{'word ' * 100}maintenance{' word' * 100}"))
        (hit,) = store.search("maintena")
    assert hit.role == "assistant"
    assert "maintenance" in hit.excerpt
    assert len(hit.excerpt) < 200
    assert excerpt("nothing of it", terms("absent")) == "nothing of it"


def test_what_is_renamed_deleted_or_replaced_is_found_accordingly(path: Path) -> None:
    with Store(path) as store:
        number = store.create("old name")
        put = store.put(number, turn("cucumber?"))
        store.rename(number, "new name")
        assert found(store, "old") == []
        assert found(store, "new") == ["new name"]
        ids = [put.question.id, put.answer.id]
        store.replaced(dict.fromkeys(ids, now()))
        assert (found(store, "cucumber"), store.turns(number), store.chat(number).questions) == ([], [], 0)
        assert [each.question.text for each in store.last_replaced(number)] == ["cucumber?"]
        store.replaced(dict.fromkeys(ids))
        assert store.last_replaced(number) == []
        assert found(store, "cucumber") == ["new name"]
        store.delete(number)
        assert (found(store, "cucumber"), store.chats()) == ([], [])
        with pytest.raises(UsageError, match="no chat"):
            store.chat(number)
        back = store.undo()
        assert back is not None
        assert back.id == number
        assert found(store, "cucumber") == ["new name"]
        assert store.undo() is None
        with pytest.raises(UsageError, match="needs a name"):
            store.rename(number, "  ")


def test_removing_leaves_no_word_in_the_file(path: Path) -> None:
    with Store(path) as store:
        number = kept(store, turn("cucumber?", "Zucchini."), title="Gherkin")
        other = kept(store, turn())
        store.remove([number])
        file = b"".join(each.read_bytes() for each in path.parent.iterdir()).lower()
        assert b"how often" in file
        assert not [word for word in (b"cucumber", b"zucchini", b"gherkin") if word in file]
        assert found(store, "cucumber") == found(store, "gherkin") == []
        assert [entry.id for entry in store.chats()] == [other]


def test_removing_works_while_another_app_reads(path: Path) -> None:
    with Store(path) as store, Store(path) as other:
        number = kept(store, turn("cucumber?"))
        other._db.execute("BEGIN")
        assert other.chats()
        store.remove([number])
        assert store.chats() == []


def test_what_cannot_be_undone_any_more_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    with Store(path) as store:
        number = kept(store, turn("cucumber?"))
        store.delete(number)
        store.tidy()
        assert store.undo() is not None
        store.delete(number)
        monkeypatch.setattr("edge_tui.history.store.UNDO", timedelta(seconds=-1))
        store.tidy()
        assert store.undo() is None


def test_a_chat_that_another_program_removed_is_gone_and_one_it_deleted_comes_back(path: Path) -> None:
    with Store(path) as here, Store(path) as there:
        number = here.create("a chat")
        put = here.put(number, turn())
        there.delete(number)
        here.put(number, put)
        assert here.chats() == []  # an answer that ends is no reason to bring it back
        here.put(number, turn("more"))
        assert [entry.id for entry in there.chats()] == [number]
        there.remove([number])
        for write in (lambda: here.put(number, put), lambda: here.put(number, turn())):
            with pytest.raises(Gone):
                write()
        with pytest.raises(Gone):
            here.append(put.answer.id, 0, "x")
        with pytest.raises(UsageError):
            here.turns(here.chat(number).id)


def test_a_locked_file_can_be_read_and_says_who_is_in_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.01)
    with Store(path) as store:
        number = kept(store, turn())
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"chats\.sqlite is locked by another program; close"):
            store.rename(number, "b")
        with Store(path) as other:
            assert [entry.title for entry in other.chats()] == ["a chat"]
        lock.execute("ROLLBACK")
        lock.close()
        store.rename(number, "b")


def test_a_full_disk_is_said_and_room_is_enough_to_go_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "512k", lazy=True) as disk, Store(disk / "chats.sqlite") as store:
        number = kept(store, turn("first"))
        with pytest.raises(StorageError, match="free some space"):
            store.put(number, turn("long", "word " * 400_000))
        assert [each.question.text for each in store.turns(number)] == ["first"]
        resize(disk, "32m")
        store.put(number, turn("long", "word " * 400_000))
        assert [each.question.text for each in store.turns(number)] == ["first", "long"]


@pytest.mark.parametrize("harm", ["no database", "half a page", "no table", "torn rows"])
def test_a_damaged_file_is_named_and_set_aside_whole(path: Path, harm: str) -> None:
    with Store(path) as store:
        number = kept(store, turn())
    if harm == "no database":
        path.write_bytes(b"this is no database at all" * 100)
    elif harm == "half a page":
        os.truncate(path, 2048)
    else:
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE messages" if harm == "no table" else "UPDATE messages SET sources = '[{'")
        db.close()
    before = path.read_bytes()
    with pytest.raises(Damaged, match=r"chats\.sqlite is damaged"), Store(path) as store:
        store.turns(number)
    aside = set_aside(path)
    assert aside.read_bytes() == before
    assert not path.exists()
    with Store(path) as store:
        assert store.chats() == []
        kept(store, turn())
    assert set_aside(path) != aside


def test_an_older_file_is_brought_up_to_date_in_place(path: Path) -> None:
    with Store(path) as store:
        number = kept(store, turn("how often?", "Every day.", mark="good"))
        before = store.turns(number)
    with sqlite3.connect(path) as db:  # as version 1 was
        db.execute("ALTER TABLE messages DROP COLUMN thinking")
        db.execute("PRAGMA user_version=1")
    db.close()
    with Store(path) as store:
        assert store.turns(number) == before
        assert found(store, "every") == ["a chat"]
        again = store.put(number, turn("and then?", "Never.", thinking="Hm."))
        assert store.turns(number) == [*before, again]
    with Store(path) as store:
        assert store.turns(number)[1].answer.thinking == "Hm."


def test_a_newer_file_is_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StorageError, match="newer version of edge") as caught:
        Store(path)
    assert not isinstance(caught.value, Damaged)


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="EDGE_HOME"):
        Store(tmp_path / "file" / "chats.sqlite")


def test_a_title_is_one_short_line() -> None:
    assert title_of("What is\n a pump?") == "What is a pump?"
    assert len(title_of("word " * 1000)) <= 72
    assert title_of("  ") == "…"
