"""The examples of a tuning run: what is read, what is held out, and what a person reads of a broken line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.engines.chat_template import CHATML, ChatTemplate
from edge.errors import TuningError
from edge.types import Message
from edge_converters.tuning.data import conversations, data_sha256, split


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def pair(question: str, answer: str) -> dict[str, str]:
    return {"prompt": question, "completion": answer}


TEMPLATE = ChatTemplate(CHATML, "", "<|im_end|>")


def chat(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_every_format_is_the_same_conversation(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    files = [
        write(tmp_path / "chat.jsonl", {"messages": turns}),
        write(tmp_path / "pair.jsonl", "", pair("Why?", "So.")),
        write(tmp_path / "lists.jsonl", {"prompt": turns[:1], "completion": turns[1:]}),
        write(tmp_path / "alpaca.jsonl", {"instruction": "Why?", "output": "So."}),
        write(tmp_path / "columns.csv", "question,answer", "Why?,So."),
    ]
    found = conversations(files)
    assert [example.line for example in found] == [1, 2, 1, 1, 2]
    assert {example.messages for example in found} == {(Message("user", "Why?"), Message("assistant", "So."))}


def test_a_text_column_has_the_turns_of_the_template(tmp_path: Path) -> None:
    marked = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    found = conversations([write(tmp_path / "a.jsonl", {"text": marked})], TEMPLATE)
    assert found[0].messages == (Message("user", "Why?"), Message("assistant", "So."))
    with pytest.raises(TuningError, match=r"b.jsonl:1 is plain text without turns"):
        conversations([write(tmp_path / "b.jsonl", {"text": "Once upon a time."})], TEMPLATE)


def test_a_question_at_the_end_that_nobody_answered_is_left_out(tmp_path: Path) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c")]
    file = write(tmp_path / "a.jsonl", {"messages": [{"role": role, "content": text} for role, text in turns]})
    assert [message.content for message in conversations([file])[0].messages] == ["a", "b"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{nonsense", "JSON"),
        ({"text": "what"}, "`messages`"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "no assistant's turn"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "wizard"),
        (chat("hi", "  "), "nothing in turn 2"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, row: object, said: str) -> None:
    file = write(tmp_path / "a.jsonl", *[chat(f"q{n}", "a") for n in range(40)], row)
    with pytest.raises(TuningError, match=f"a.jsonl:41.*{said}"):
        conversations([file])


def test_what_is_held_out_was_never_asked_in_what_is_learnt(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", *[pair(f"question {n // 3}", f"answer {n}") for n in range(60)])
    examples = conversations([file])
    learnt, held_out = split(examples, 0.1, seed=7)
    assert len(learnt) + len(held_out) == 60
    assert 6 <= len(held_out) <= 8
    assert not {e.messages[0] for e in learnt} & {e.messages[0] for e in held_out}
    assert split(examples, 0.1, seed=7) == (learnt, held_out)
    assert split(examples, 0.1, seed=8) != (learnt, held_out)
    assert split(examples, 0, seed=7) == (examples, [])


def test_the_hash_is_of_what_is_said_and_not_of_where(tmp_path: Path) -> None:
    first = conversations([write(tmp_path / "a.jsonl", pair("a", "b"))])
    second = conversations([write(tmp_path / "b.jsonl", "", pair("a", "b"))])
    other = conversations([write(tmp_path / "c.jsonl", pair("a", "b."))])
    assert data_sha256(first) == data_sha256(second) != data_sha256(other)
