"""Chats as files: Markdown for people, JSON for programs, chat JSONL for tuning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import StorageError
from edge_tui.history.export import as_json, as_markdown, free_name, training, write
from edge_tui.history.records import ChatEntry, ChatMessage, Mark, Turn
from edge_tui.rendering.sources import Source

ENTRY = ChatEntry(3, "Pumps", "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z", "tiny", "legal", None, None, 1)
SOURCE = Source(1, "Close both\nvalves.", "/manual.md", 12, None, 10, 28)


def turn(question: str, answer: str, mark: Mark | None = None, correction: str | None = None) -> Turn:
    asked = ChatMessage("user", question, "t", sent=f"Passages … {question}", system="Be brief.")
    return Turn(asked, ChatMessage("assistant", answer, "t", mark=mark, correction=correction))


def test_markdown_reads_well_and_is_safe_to_print() -> None:
    first = turn("How?", "Close them.\x1b[2J", "good", "Close both.")
    shown = replace(first.answer, shown="Close them. [\\[1\\]](#source-1)", sources=(SOURCE,), notes=("a note",))
    text = as_markdown(ENTRY, [Turn(first.question, shown), turn("two\nlines", "x\x1b")])
    assert text == (
        "# Pumps\n\n*2026-01-02, tiny + legal*\n\n"
        "## How?\n\nClose them. [1]\n\n- [1] Close both valves. — /manual.md, p. 12 · 10–28\n\n*a note*\n\n"
        "*Marked good.*\n\n**It should have been:**\n\nClose both.\n\n"
        "## two lines\n\n> two\n> lines\n\nx\ufffd\n"
    )


def test_markdown_says_how_an_answer_ended() -> None:
    cut = turn("How?", "Close")
    assert "*This answer was cut off.*" in as_markdown(
        ENTRY, [Turn(cut.question, replace(cut.answer, state="partial"))]
    )


def test_what_was_thought_is_folded_in_markdown_a_field_in_json_and_nothing_to_learn_from() -> None:
    thought = turn("How?", "Close them.", "good")
    thought = Turn(thought.question, replace(thought.answer, thinking="They ask how.\n\nClose."))
    text = as_markdown(ENTRY, [thought])
    assert "<details><summary>Thought</summary>\n\n> They ask how.\n>\n> Close.\n\n</details>\n\nClose them." in text
    (chat,) = json.loads(as_json([(ENTRY, [thought])]))
    assert [m["thinking"] for m in chat["messages"]] == [None, "They ask how.\n\nClose."]
    assert "They ask" not in "".join(training([(ENTRY, [thought])]))


def test_json_has_the_names_of_the_records() -> None:
    (chat,) = json.loads(as_json([(ENTRY, [turn("How?", "So.")])]))
    assert (chat["id"], chat["title"], chat["adapter"]) == (3, "Pumps", "legal")
    assert [(m["role"], m["text"]) for m in chat["messages"]] == [("user", "How?"), ("assistant", "So.")]
    assert chat["messages"][0]["sent"] == "Passages … How?"


def test_training_takes_what_was_approved_and_its_corrections() -> None:
    turns = [
        turn("a", "A", "good"),
        turn("b", "B", correction="B!"),
        turn("c", "C", "bad"),
        turn("d", "D"),
        turn("e", "E", "bad", "E!"),
    ]
    lines = [json.loads(line)["messages"] for line in training([(ENTRY, turns)])]
    assert [[(m["role"], m["content"]) for m in messages] for messages in lines] == [
        [
            ("system", "Be brief."),
            ("user", "Passages … a"),
            ("assistant", "A"),
            ("user", "Passages … b"),
            ("assistant", "B!"),
        ],
        [("system", "Be brief."), ("user", "Passages … e"), ("assistant", "E!")],
    ]
    (bare, _) = training([(ENTRY, turns)], bare=True)
    assert json.loads(bare)["messages"][:2] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "A"},
    ]
    assert list(training([(ENTRY, [turn("a", "", "good")])])) == []


def test_file_names(tmp_path: Path) -> None:
    assert free_name(tmp_path, "Why is 4/5 < 1?") == tmp_path / "why-is-4-5-1.md"
    (tmp_path / "pumps.md").touch()
    assert free_name(tmp_path, "Pumps") == tmp_path / "pumps-2.md"
    assert free_name(tmp_path, "…").name == "chat.md"
    assert free_name(tmp_path, "پانی کہاں").name == "پانی-کہاں.md"
    with pytest.raises(StorageError, match="another file"):
        write(tmp_path / "absent" / "a.md", "x")
