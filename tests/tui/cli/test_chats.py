"""`edge chats` and the flags of `edge chat` that belong to kept chats."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.system import paths
from edge_tui.cli.main import _run, cli
from edge_tui.history.records import ChatMessage, Turn, now
from edge_tui.history.store import Store


def edge(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["chats", *arguments])


def keep(title: str, *turns: tuple[str, str, str | None]) -> int:
    with Store(paths.chats_file()) as store:
        number = store.create(title, model="tiny")
        for question, answer, mark in turns:
            asked = ChatMessage("user", question, now(), sent=f"Passages … {question}", system="Be brief.")
            store.put(number, Turn(asked, ChatMessage("assistant", answer, now(), mark=mark)))  # type: ignore[arg-type]
    return number


def test_without_chats_the_way_to_one_is_named() -> None:
    done = edge("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "edge chat" in done.stderr
    assert json.loads(edge("list", "--json").stdout) == []


def test_list_show_and_search() -> None:
    keep("Pumps\x1b[2J", ("how often?", "Every day.", None))
    keep("Bicycles", ("which chain?", "A long one.", None))
    rows = edge("list").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["ID", "2", "1"]
    assert "Bicycles" in rows[1]
    assert "\x1b" not in edge("list").stdout
    assert [entry["title"] for entry in json.loads(edge("list", "--json").stdout)] == ["Bicycles", "Pumps\x1b[2J"]
    assert "## how often?\n\nEvery day." in edge("show", "1").stdout
    shown = json.loads(edge("show", "1", "--json").stdout)
    assert [message["text"] for message in shown["messages"]] == ["how often?", "Every day."]
    assert "model: A long one." in edge("search", "long").stdout
    (hit,) = json.loads(edge("search", "chai", "--json").stdout)
    assert (hit["chat"]["id"], hit["role"]) == (2, "user")
    assert "No chat holds" in edge("search", "nothing").stderr


def test_a_chat_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["chats", "show", "7"]) == 1
    assert "there is no chat 7; `edge chats list`" in capsys.readouterr().err


def test_export(tmp_path: Path) -> None:
    keep("Pumps", ("how often?", "Every day.", "good"), ("and?", "No.", "bad"))
    keep("Bicycles", ("which chain?", "A long one.", None))
    assert edge("export").stdout.count("# ") == 5
    assert "# Pumps" not in edge("export", "2").stdout
    out = tmp_path / "all.json"
    assert "2 chats written" in edge("export", "-o", str(out)).stderr
    assert [chat["title"] for chat in json.loads(out.read_text())] == ["Bicycles", "Pumps"]
    assert json.loads(edge("export", "1", "--format", "json").stdout)[0]["id"] == 1
    examples = tmp_path / "examples.jsonl"
    assert "1 example." in edge("export", "--training", "-o", str(examples)).stderr
    (line,) = examples.read_text().splitlines()
    assert json.loads(line) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Passages … how often?"},
            {"role": "assistant", "content": "Every day."},
        ]
    }
    assert '{"role": "user", "content": "how often?"}' in edge("export", "--training", "--bare").stdout
    assert "/good" in edge("export", "2", "--training").stderr


def test_export_writes_over_a_file_only_where_that_is_asked_for_and_never_over_the_chats(tmp_path: Path) -> None:
    keep("Pumps", ("how often?", "Every day.", "good"))
    out = tmp_path / "mine.md"
    out.write_text("my own notes")
    refused = edge("export", "-o", str(out))
    assert (refused.exit_code, "exists already" in str(refused.exception)) == (1, True)
    assert out.read_text() == "my own notes"
    assert edge("export", "-o", str(out), "--replace").exit_code == 0
    assert "Every day." in out.read_text()
    before = paths.chats_file().read_bytes()
    assert edge("export", "-o", str(paths.chats_file()), "--replace").exit_code == 1
    assert paths.chats_file().read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("export", "--training", "--format", "md"), ("export", "--bare"), ("search",), ("remove", "x")]
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert edge(*arguments).exit_code == 2


def test_remove_asks_and_is_for_good() -> None:
    keep("Pumps", ("how often?", "Every day.", None))
    keep("Bicycles")
    assert edge("remove", "1").exit_code == 2  # nobody is there to be asked
    assert edge("remove", "1", "9", "--yes").exit_code == 1
    assert "Deleted “Pumps”." in edge("remove", "1", "--yes").stderr
    assert [entry["id"] for entry in json.loads(edge("list", "--json").stdout)] == [2]
    with Store(paths.chats_file()) as store:
        assert store.undo() is None


def test_what_a_kill_cut_off_is_found_even_while_another_program_writes() -> None:
    number = keep("Pumps")
    with Store(paths.chats_file()) as store:
        cut = Turn(ChatMessage("user", "why?", now()), ChatMessage("assistant", "", now(), state="partial"))
        store.append(store.put(number, cut).answer.id, 0, "Because of rust.")
    lock = sqlite3.connect(paths.chats_file(), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert "Because of rust.\n\n*This answer was cut off.*" in edge("show", "1").stdout
    lock.execute("ROLLBACK")
    lock.close()
    assert "Because of rust." in edge("search", "rust").stdout


def test_a_damaged_file_is_said_and_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    paths.chats_file().parent.mkdir(parents=True)
    paths.chats_file().write_bytes(b"no database at all" * 100)
    assert _run(["chats", "list"]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert paths.chats_file().read_bytes().startswith(b"no database")
