from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StorageError, UsageError
from edge.evaluation.questions import read_questions
from edge.evaluation.records import Question
from edge.types import Message


def read(tmp_path: Path, *rows: Any) -> list[Question]:
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return read_questions(file)


def test_every_shape_is_read(tmp_path: Path) -> None:
    squad = {
        "question": "Who was the Norse leader?",
        "document": "Normans.md",
        "paragraph": {"start": 11, "end": 753},
        "answers": [{"text": "Rollo", "start": 319, "end": 324}],
    }
    chat = {
        "messages": [
            {"role": "system", "content": "Be a clerk."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Good day."},
            {"role": "user", "content": " Report the pump. "},
            {"role": "assistant", "content": "PUMP: due"},
        ],
        "form": "PUMP: .*",
    }
    first, unanswerable, plain, given, talked = read(
        tmp_path,
        squad,
        {**squad, "answers": []},
        {"question": "Why?", "answers": "because"},
        "",
        {"question": "How?", "passages": ["So."], "reference": "Like so."},
        chat,
    )
    assert (first.answers, first.spans, first.passage, first.document) == (
        ("Rollo",),
        ((319, 324),),
        (11, 753),
        "Normans.md",
    )
    assert [q.answerable for q in (first, unanswerable, plain, given)] == [True, False, True, None]
    assert (given.passages, given.wanted) == (("So.",), "Like so.")
    assert (talked.question, talked.reference, talked.form) == ("Report the pump.", "PUMP: due", "PUMP: .*")
    assert talked.before is not None
    assert talked.before[0] == Message("system", "Be a clerk.")
    assert len(talked.before) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "line 2"),
        ("[1]", "no JSON object"),
        ('{"answers": []}', "'question' is missing"),
        ('{"question": "  "}', "empty"),
        ('{"question": 3}', "not a text"),
        ('{"question": "a", "answers": [""]}', "answer is empty"),
        ('{"question": "a", "answers": [{"text": "x", "start": 5, "end": 2}]}', "no span"),
        ('{"question": "a", "form": "("}', "no regular expression"),
        ('{"question": "a", "form": {"type": "nonsense"}}', "no valid JSON schema"),
        ('{"messages": []}', "no user turn"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "robot"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        read(tmp_path, {"question": "fine"}, line)
    assert "line 2" in str(caught.value)


def test_no_file_and_no_question(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_questions(tmp_path / "gone.jsonl")
    with pytest.raises(UsageError, match="no question"):
        read(tmp_path, "", "  ")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "Stra\xdfe?"}')
    with pytest.raises(UsageError, match="UTF-8"):
        read_questions(tmp_path / "latin.jsonl")
