"""Training examples of every format, as the tools that know it write it, and files that are broken somewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.engines.chat_template import CHATML, ChatTemplate
from edge.engines.tokenizer import HuggingFaceTokenizer
from edge.errors import DataError, StorageError, UsageError
from edge.types import Message
from edge_converters.data.reader import Example, Examples, check_turns, read_examples

PHI3 = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
LLAMA2 = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}"
    "{% elif message.role == 'user' %}{{ bos_token + '[INST] ' + message.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + message.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
TURNS = (Message("user", "When?"), Message("assistant", "Every ninety days."))


def lines(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> tuple[Examples, list[tuple[int | None, str]]]:
    found = read_examples([path], **options)
    return found, [(finding.line, finding.kind) for finding in found.findings]


def only(path: Path, **options: Any) -> tuple[str, Example]:
    found, wrong = read(path, **options)
    assert wrong == []
    assert found.files[0].examples == len(found) == 1
    return found.files[0].format, found.examples[0]


@pytest.mark.parametrize(
    ("record", "form", "turns"),
    [
        ({"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": TURNS[1].content}]},
         "chat", TURNS),
        ({"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [
            {"type": "text", "text": "When?"}]}, {"role": "assistant", "content": TURNS[1].content}]},
         "chat", (Message("system", "Be brief."), *TURNS)),
        ({"prompt": "When?", "completion": f" {TURNS[1].content}\n"}, "prompt-completion", TURNS),
        ({"prompt": [{"role": "user", "content": "When?"}],
          "completion": [{"role": "assistant", "content": TURNS[1].content}]}, "prompt-completion", TURNS),
        ({"conversations": [{"from": "human", "value": "When?"}, {"from": "gpt", "value": TURNS[1].content}],
          "system": "Be brief."}, "conversations", (Message("system", "Be brief."), *TURNS)),
        ({"instruction": "When?", "input": "", "output": TURNS[1].content}, "alpaca", TURNS),
        ({"instruction": "Shorten.", "input": "A long text.", "output": "Text.", "history": [["Hi", "Hello"]]},
         "alpaca", (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Shorten.\n\nA long text."),
                    Message("assistant", "Text."))),
        ({"question": "When?", "answer": TURNS[1].content, "id": 7}, "pairs", TURNS),
    ],
    ids=["openai", "openai-parts", "completions", "trl", "sharegpt", "alpaca", "alpaca-history", "pairs"],
)  # fmt: skip
def test_formats_are_distinguished_in_lines_and_arrays(
    record: dict[str, Any], form: str, turns: tuple[Message, ...], tmp_path: Path
) -> None:
    detected, example = only(lines(tmp_path / "a.jsonl", [record]))
    assert (detected, example.messages, example.line) == (form, turns, 1)
    assert example.place == f"{tmp_path / 'a.jsonl'}:1"
    array = tmp_path / "a.json"
    array.write_text(json.dumps([record], indent=2), encoding="utf-8")
    detected, example = only(array)
    assert (detected, example.messages, example.line) == (form, turns, 2)


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
def test_tables_keep_line_breaks_and_count_lines(suffix: str, delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / f"faq{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerows([["Question", "Answer"], ["Two\nlines; or, more?", 'She said "yes".'], [], ["When?", "42"]])
    found, wrong = read(path)
    assert wrong == []
    assert [(example.line, [m.content for m in example.messages]) for example in found] == [
        (2, ["Two\nlines; or, more?", 'She said "yes".']),
        (5, ["When?", "42"]),
    ]


def test_a_table_with_broken_rows_gives_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('question,answer\na,b\n"x"y,z\none\nc,d\ne,"never closed\nf,g\n', encoding="utf-8")
    found, wrong = read(path)
    assert [example.line for example in found] == [2, 5]
    assert wrong == [(3, "broken"), (4, "broken"), (6, "broken")]
    assert 'a " that is never closed; lines 6 to 7' in found.findings[-1].message


def test_autotrains_text_column_stays_text_without_a_template(tmp_path: Path) -> None:
    form, example = only(lines(tmp_path / "a.jsonl", [{"text": "### Human: When?### Assistant: Now."}]))
    assert (form, example.messages, example.text) == ("text", (), "### Human: When?### Assistant: Now.")


@pytest.mark.parametrize("source", [CHATML, PHI3, LLAMA2], ids=["chatml", "phi3", "llama2"])
@pytest.mark.parametrize("system", [True, False])
def test_text_is_split_by_the_templates_own_marks(source: str, system: bool, tmp_path: Path) -> None:
    template = ChatTemplate(source, "<s>", "</s>", ())
    talk = (*TURNS, Message("user", "And\n\nthe <b>filter</b>?"), Message("assistant", "Weekly."))
    talk = (Message("system", "Be brief."), *talk) if system and template.keeps_system else talk
    text = template.render(talk, reply=False)
    for written in (text, text.strip(), text.replace("\n<|", "<|")):
        _, example = only(lines(tmp_path / "a.jsonl", [{"text": written}]), template=template)
        assert example.messages == talk
    _, example = only(lines(tmp_path / "a.jsonl", [{"text": "Only prose, by nobody."}]), template=template)
    assert example.messages == ()
    assert example.text == "Only prose, by nobody."


def test_the_stand_ins_texts_are_split_with_and_without_its_default_system(stand_in: Path, tmp_path: Path) -> None:
    template = HuggingFaceTokenizer(stand_in).template
    with_default = template.render(TURNS, reply=False)
    assert "named SmolLM" in with_default
    bare = with_default[with_default.index("<|im_start|>user") :]
    found, _ = read(lines(tmp_path / "a.jsonl", [{"text": bare}, {"text": with_default}]), template=template)
    assert found.examples[0].messages == TURNS
    assert [m.role for m in found.examples[1].messages][-2:] == ["user", "assistant"]


def test_a_broken_line_far_in_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    line = json.dumps({"prompt": "a", "completion": "b"}) + "\n"
    path = tmp_path / "a.jsonl"
    path.write_text(line * 40_000 + '{"prompt": "a", "comple\n' + "\n" + line * 2, encoding="utf-8")
    found, wrong = read(path)
    assert wrong == [(40_001, "broken")]
    assert len(found) == 40_002
    assert found.examples[-1].line == 40_004
    assert "ends too early" in found.findings[0].message


def test_wrong_encodings_are_named_and_marks_are_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"prompt": "a", "completion": "b"}).encode() + b"\n"
    path.write_bytes(b"\xef\xbb\xbf" + good + '{"prompt": "f\u00fcr", "completion": "c"}\n'.encode("cp1252") + good)
    found, wrong = read(path)
    assert wrong == [(None, "encoding"), (2, "encoding")]
    assert "0xfc in column 14" in found.findings[1].message
    assert [example.line for example in found] == [1, 3]
    path.write_bytes("question,answer\nwhen?,für immer\n".encode("utf-16"))
    found, wrong = read(path.rename(tmp_path / "a.csv"))
    assert wrong == [(None, "encoding")]
    assert found.examples[0].messages[1].content == "für immer"
    found, wrong = read(lines(tmp_path / "half.jsonl", [{"prompt": "\ud800", "completion": "b"}]))
    assert wrong == [(1, "unreadable")]


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([{"role": "tool", "content": "x"}], "tools"),
        ([{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], "tools"),
        ([{"role": "narrator", "content": "x"}], "'narrator' in turn 1"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "'image_url'"),
        ([{"role": "user", "content": {"a": 1}}], "dict"),
        (["hello"], "turn 1"),
        ("hello", "no list of turns"),
    ],
)
def test_lines_that_cannot_be_learnt_from_are_refused_with_a_word(turns: Any, why: str, tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    found, wrong = read(lines(tmp_path / "a.jsonl", [good, {"messages": turns}, good]))
    assert wrong == [(2, "unreadable")]
    assert why in found.findings[0].message
    assert [example.line for example in found] == [1, 3]


def test_tools_preferences_and_weights_are_reported(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]
    records = [
        {"messages": turns},
        {"messages": turns, "tools": [{"type": "function"}]},
        {"prompt": "a", "chosen": "b"},
    ]
    found, wrong = read(lines(tmp_path / "a.jsonl", records))
    assert wrong == [(1, "weight"), (2, "unreadable"), (3, "unreadable")]
    assert "preference" in found.findings[2].message


def test_a_format_can_be_forced_and_another_one_in_between_is_named(tmp_path: Path) -> None:
    both = {"prompt": "a", "completion": "b", "text": "c"}
    path = lines(tmp_path / "a.jsonl", [both, {"question": "a", "answer": "b"}])
    found, wrong = read(path)
    assert (found.files[0].format, found.files[0].forced, wrong) == ("prompt-completion", False, [(2, "unreadable")])
    assert "`question`, `answer`" in found.findings[0].message
    found, _ = read(path, format="text")
    assert (found.files[0].forced, found.examples[0].text) == (True, "c")
    with pytest.raises(UsageError, match="chat, prompt-completion"):
        read(path, format="yaml")


def test_what_is_no_training_data_is_an_error_that_says_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        read(tmp_path / "nothing.jsonl")
    for content, why in ((b"PAR1\0", "Parquet"), (b"GGUF\3", "a model"), (b"Dear all,\nhello", "JSON lines")):
        path = tmp_path / "a.bin"
        path.write_bytes(content)
        with pytest.raises(DataError, match=why):
            read(path)
    with pytest.raises(DataError, match=r"a\.jsonl:1 is in no format.*`a`, `b`"):
        read(lines(tmp_path / "a.jsonl", [{"a": 1, "b": 2}]))


def test_an_array_that_was_cut_off_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    record = {"instruction": "a" * 50_000, "input": "", "output": "b"}  # several pieces of the file
    whole = json.dumps([record] * 5, indent=1)
    path.write_text(whole, encoding="utf-8")
    assert [example.line for example in read_examples([path])] == [2, 7, 12, 17, 22]
    path.write_text(whole[:-1], encoding="utf-8")
    found, wrong = read(path)
    assert (len(found), wrong) == (5, [(27, "broken")])
    path.write_text(whole.replace('"output": "b"', '"output" "b"', 3).replace('"output" "b"', '"output": "b"', 2))
    found, wrong = read(path)
    assert (len(found), wrong) == (2, [(15, "broken")])


@pytest.mark.parametrize(
    ("roles", "severity", "kind", "said"),
    [
        ("user", "error", "no-assistant", "nothing to learn"),
        ("system user", "error", "no-assistant", "nothing to learn"),
        ("assistant user assistant", "error", "order", "begins with the assistant"),
        ("system assistant", "error", "order", "begins with the assistant"),
        ("user user assistant", "error", "order", "two turns of the user in a row (turn 2)"),
        ("system user assistant assistant", "error", "order", "the assistant in a row (turn 4)"),
        ("user assistant system user assistant", "error", "order", "system turn behind"),
        ("user assistant user", "warning", "order", "ends with the user's turn"),
    ],
)
def test_turns_in_a_wrong_order(roles: str, severity: str, kind: str, said: str) -> None:
    turns = tuple(Message(role, "x") for role in roles.split())  # type: ignore[arg-type]
    (found,) = check_turns(Example(turns, "a.jsonl", 9))
    assert (found.severity, found.kind, found.line) == (severity, kind, 9)
    assert said in found.message


def test_good_turns_have_no_findings_and_empty_ones_are_named() -> None:
    assert list(check_turns(Example((Message("system", "s"), *TURNS, *TURNS), "a", 1))) == []
    (found,) = check_turns(Example((Message("user", " \n"), TURNS[1]), "a", 1))
    assert (found.kind, "turn 1 (user)" in found.message) == ("empty", True)
