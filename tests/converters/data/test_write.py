"""Examples written in one format, and parted for a test so that nothing of it was trained on."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import DataError, StorageError, UsageError
from edge_converters.data.check import check_examples
from edge_converters.data.reader import read_examples
from edge_converters.data.writer import TARGETS, convert_examples, split_examples


def write(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def load(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def turns(*contents: str, system: str | None = None) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    listed = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + listed}


RECORDS = [
    turns("When?", "Now – für immer."),
    turns("When?", "Now.", system="Be brief."),
    turns("Hi", "Hello", "Who?", "The keeper.", system="Be brief."),
]


@pytest.mark.parametrize("to", TARGETS)
def test_every_format_says_the_same_when_it_is_read_again(to: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", RECORDS)
    done = convert_examples([source], tmp_path / "out.jsonl", to=to)
    assert (done.examples, done.left_out, done.files[0].format) == (3, (), "chat")
    again = read_examples([done.path])
    assert again.files[0].format == to
    assert [e.messages for e in again] == [e.messages for e in read_examples([source])]
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "out.jsonl"]


def test_what_is_written_is_what_its_readers_expect(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", RECORDS)
    written = {to: load(convert_examples([source], tmp_path / f"{to}.jsonl", to=to).path) for to in TARGETS}
    assert written["chat"] == RECORDS
    assert written["prompt-completion"][0] == {"prompt": "When?", "completion": "Now – für immer."}
    assert written["prompt-completion"][2] == {
        "prompt": RECORDS[2]["messages"][:-1],
        "completion": RECORDS[2]["messages"][-1:],
    }
    assert written["alpaca"] == [
        {"instruction": "When?", "input": "", "output": "Now – für immer."},
        {"instruction": "When?", "input": "", "output": "Now.", "system": "Be brief."},
        {
            "instruction": "Who?",
            "input": "",
            "output": "The keeper.",
            "system": "Be brief.",
            "history": [["Hi", "Hello"]],
        },
    ]
    assert "für" in (tmp_path / "chat.jsonl").read_text(encoding="utf-8")


def test_several_files_of_several_formats_become_one(tmp_path: Path) -> None:
    table = tmp_path / "faq.csv"
    table.write_bytes("\ufeffQuestion;Answer\r\nwhat?;that\r\n".encode())
    done = convert_examples([table, write(tmp_path / "a.jsonl", RECORDS)], tmp_path / "deep" / "out.jsonl")
    assert [(file.format, file.examples) for file in done.files] == [("pairs", 1), ("chat", 3)]
    assert load(done.path) == [turns("what?", "that"), *RECORDS]


def test_a_file_that_is_there_and_broken_records_stop_it(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [RECORDS[0], {"messages": 1}, RECORDS[1]])
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    with pytest.raises(StorageError, match="--force"):
        convert_examples([source], out)
    with pytest.raises(DataError, match=r"nothing was written: .*a\.jsonl:2 has a `messages`.*--skip-broken"):
        convert_examples([source], out, force=True)
    assert out.read_text() == "old"
    done = convert_examples([source], out, force=True, skip_broken=True)
    assert [finding.line for finding in done.left_out] == [2]
    assert load(out) == RECORDS[:2]
    with pytest.raises(StorageError, match="is a folder"):
        convert_examples([source], tmp_path, force=True)
    with pytest.raises(UsageError, match="alpaca"):
        convert_examples([source], tmp_path / "new", to="xml")
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "out.jsonl"]


def test_what_has_no_place_in_a_format_is_named(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [RECORDS[0], turns("When?")])
    for to in ("prompt-completion", "alpaca"):
        with pytest.raises(DataError, match=rf"a\.jsonl:2 does not end with the assistant, for which {to}"):
            convert_examples([source], tmp_path / "out.jsonl", to=to)
    text = write(tmp_path / "t.jsonl", [{"text": "prose"}])
    with pytest.raises(DataError, match="--base MODEL splits it"):
        convert_examples([text], tmp_path / "out.jsonl")


def many(count: int) -> list[dict[str, Any]]:
    pick = random.Random(4)
    words = [f"w{number}" for number in range(2000)]
    records = [turns(" ".join(pick.sample(words, 8)), " ".join(pick.sample(words, 30))) for _ in range(count)]
    for number in range(0, count, 10):  # the same question with another answer, and one that is nearly the same
        question, answer = (message["content"] for message in records[number]["messages"])
        records.append(turns(question, "Something else " + answer[:20]))
        records.append(turns(question + " please", answer))
    pick.shuffle(records)
    return records


def test_split_leaks_nothing_and_loses_nothing(tmp_path: Path) -> None:
    records = many(200)
    done = split_examples([write(tmp_path / "a.jsonl", records)], tmp_path / "parts", test=0.2)
    train, test = load(done.train_path), load(done.test_path)
    assert (len(train), len(test)) == (done.train, done.test)
    assert abs(len(test) - 0.2 * len(records)) <= 3
    assert (done.groups, done.largest) == (200, 3)
    assert sorted(map(json.dumps, train + test)) == sorted(map(json.dumps, records))
    check = check_examples([Path(done.train_path)], test=[Path(done.test_path)])
    assert not [finding for finding in check.findings if "leak" in finding.kind]
    assert [record for record in records if record in train] == train  # in the order of the file


def test_split_depends_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    records = many(100)
    source = write(tmp_path / "a.jsonl", records)
    turned = write(tmp_path / "b.jsonl", records[::-1])
    parts = {}
    for name, path, seed in (("one", source, 7), ("again", source, 7), ("turned", turned, 7), ("other", source, 8)):
        parts[name] = load(split_examples([path], tmp_path / name, seed=seed).test_path)
    assert parts["one"] == parts["again"]
    assert sorted(map(json.dumps, parts["one"])) == sorted(map(json.dumps, parts["turned"]))
    assert parts["one"] != parts["other"]


def test_split_refuses_what_cannot_be_parted_and_keeps_what_is_there(tmp_path: Path) -> None:
    same = write(tmp_path / "same.jsonl", [turns("When?", "Now."), turns("when", "Later.")])
    with pytest.raises(DataError, match="they all ask nearly the same"):
        split_examples([same], tmp_path / "parts")
    source = write(tmp_path / "a.jsonl", [*many(20), turns("No answer")])
    with pytest.raises(DataError, match=r"a\.jsonl:25 has no assistant's turn"):
        split_examples([source], tmp_path / "parts")
    for share in (0, 1, 1.5):
        with pytest.raises(UsageError, match="between 0 and 1"):
            split_examples([source], tmp_path / "parts", test=share)
    done = split_examples([source], tmp_path / "parts", skip_broken=True)
    assert (done.train + done.test, [finding.line for finding in done.left_out]) == (24, [25])
    with pytest.raises(StorageError, match=r"train\.jsonl is there already"):
        split_examples([source], tmp_path / "parts", skip_broken=True)
    assert split_examples([source], tmp_path / "parts", skip_broken=True, force=True) == done


def test_texts_without_turns_are_parted_too(tmp_path: Path) -> None:
    pick = random.Random(4)
    texts = [{"text": " ".join(f"w{pick.randrange(999)}" for _ in range(30))} for _ in range(20)]
    done = split_examples([write(tmp_path / "a.jsonl", texts)], tmp_path / "parts", test=0.25)
    assert done.test == 5
    assert sorted(map(str, load(done.train_path) + load(done.test_path))) == sorted(map(str, texts))
