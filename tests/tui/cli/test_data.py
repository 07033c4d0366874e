"""`edge data` from the command line: real files, what a person reads, and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.errors import DataError, ModelNotFound, StorageError
from edge_tui.cli.main import cli


def run(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)


def status(*arguments: object) -> tuple[int, str]:
    """As a shell sees it: the exit code and standard output."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout


def write(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"What of {n} a{n} b{n}?", "completion": f"It is c{n} d{n} e{n}."} for n in range(count)]


def test_check_says_where_what_and_exits_by_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good.jsonl", pairs(60))
    code, said = status("data", "check", "good.jsonl")
    assert (code, said.splitlines()[-1]) == (0, "60 examples: nothing to complain about")
    write(tmp_path / "bad.jsonl", [*pairs(60), {"prompt": "x"}, pairs(3)[2]])
    code, said = status("data", "check", "bad.jsonl")
    lines = said.splitlines()
    assert code == 1
    assert lines[1] == "bad.jsonl  prompt-completion  61"
    assert lines[3].startswith("error    bad.jsonl:61 has no `completion`")
    assert lines[4].startswith("warning  bad.jsonl:62 is the same as bad.jsonl:3;")
    assert lines[-1] == "61 examples: 1 error, 1 warning"


def test_check_names_a_few_of_a_kind_and_all_when_asked(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [*pairs(50), *pairs(9)])
    said = run("data", "check", source).stdout
    assert said.count("is the same as") == 5
    assert "and 4 more (duplicate)" in said
    assert run("data", "check", source, "--all").stdout.count("is the same as") == 9


def test_check_json_has_the_fields_of_the_records(tmp_path: Path, stand_in: Path) -> None:
    source = write(tmp_path / "a.jsonl", pairs(60))
    test = write(tmp_path / "t.jsonl", pairs(1))
    code, said = status(
        "data", "check", source, "--test", test, "--base", stand_in, "--epochs", 2, "--context", 512, "--json"
    )
    found = json.loads(said)
    assert (code, found["passed"], found["examples"]) == (1, False, 60)
    assert found["files"] == [{"path": str(source), "format": "prompt-completion", "forced": False, "examples": 60}]
    (finding,) = found["findings"]
    assert (finding["severity"], finding["kind"], finding["source"], finding["line"]) == ("error", "leak", str(test), 1)
    assert found["estimate"]["examples"] == 60
    assert found["estimate"]["steps"] == 15
    assert [way["name"] for way in found["estimate"]["methods"]] == ["LoRA", "QLoRA"]


def test_check_tells_the_cost_for_a_model_of_the_library(tmp_path: Path, smollm_path: Path, edge_home: Path) -> None:
    (edge_home / "models").mkdir(parents=True)
    (edge_home / "models" / smollm_path.name).symlink_to(smollm_path)
    source = write(tmp_path / "a.jsonl", [*pairs(60), {"prompt": "Tell", "completion": "word " * 600}])
    code, said = status("data", "check", source, "--base", "smollm", "--context", 256)
    assert code == 1
    assert "a.jsonl:61 has 6" in said
    assert "the context is 256" in said
    assert "23 steps of 8 examples, 3 times through all" in said
    assert "LoRA      about " in said
    with pytest.raises(ModelNotFound, match="no model called 'other'"):
        run("data", "check", source, "--base", "other")


def test_what_files_hold_is_safe_to_print(tmp_path: Path) -> None:
    record = {"messages": [{"role": "\x1b[2J", "content": "x"}, {"role": "user", "content": "\x1b]0;title\x07"}]}
    said = status("data", "check", write(tmp_path / "a\x1b[31m.jsonl", [record, {"\x1b[1mkey": 1}]))[1]
    assert "\x1b" not in said
    assert "has the role" in said


def test_convert_to_chat_and_back_through_the_shell(tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text("question,answer\nwhen?,now\nwho?,he\n", encoding="utf-8")
    out = tmp_path / "chat.jsonl"
    done = run("data", "convert", tmp_path / "faq.csv", "-o", out)
    assert done.stdout.splitlines()[-1] == f"2 examples written as chat: {out}"
    assert json.loads(out.read_text().splitlines()[1])["messages"][1] == {"role": "assistant", "content": "he"}
    with pytest.raises(StorageError, match="--force"):
        run("data", "convert", out, "-o", out)
    done = run("data", "convert", out, "-o", tmp_path / "a.jsonl", "--to", "alpaca", "--json")
    assert json.loads(done.stdout)["examples"] == 2
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["instruction"] == "when?"


def test_convert_splits_texts_by_the_template_of_a_model(tmp_path: Path, stand_in: Path) -> None:
    text = "<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\nNow.<|im_end|>\n"
    source = write(tmp_path / "a.jsonl", [{"text": text}])
    run("data", "convert", source, "--base", stand_in, "-o", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["messages"] == [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "Now."},
    ]


def test_split_writes_two_files_that_check_finds_clean(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", [*pairs(80), {"prompt": "x", "completion": " "}])
    with pytest.raises(DataError, match=r"all\.jsonl:81 has nothing in turn 2 \(assistant\)"):
        run("data", "split", source, "-o", tmp_path / "parts")
    done = run("data", "split", source, "-o", tmp_path / "parts", "--test", "0.25", "--skip-broken")
    assert "left out: " in done.stderr
    train, test = tmp_path / "parts" / "train.jsonl", tmp_path / "parts" / "test.jsonl"
    assert [len(path.read_text().splitlines()) for path in (train, test)] == [60, 20]
    assert status("data", "check", train, "--test", test)[0] == 0
    assert sorted(os.listdir(tmp_path / "parts")) == ["test.jsonl", "train.jsonl"]


def test_errors_are_one_sentence_and_usage_is_two(tmp_path: Path) -> None:
    def edge(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge_tui.cli.main", "data", *words]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)

    missing = edge("check", str(tmp_path / "nothing.jsonl"))
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[-1].startswith("edge: ")
    assert "does not exist; give a file" in missing.stderr
    assert edge("check").returncode == 2
    assert edge("convert", "a.jsonl", "-o", "b", "--to", "xml").returncode == 2
    assert edge("split", "a.jsonl").returncode == 2


def test_questions_get_their_passages_and_can_be_tuned_on(starter_home: Path, tmp_path: Path) -> None:
    manual = tmp_path / "manual.md"
    manual.write_text("# Pump\n\nThe pump is oiled every 500 hours.\n\n# Fan\n\nThe fan is cleaned every week.\n")
    start = manual.read_text().index("every week")
    questions = write(
        tmp_path / "questions.jsonl",
        [
            {"question": "How often is the pump oiled?", "answers": ["500 hours"], "reference": "OIL every 500 hours"},
            {
                "question": "zzz?",
                "answers": ["x"],
                "document": "manual.md",
                "passage": {"start": start, "end": start + 10},
            },
            {"question": "Who painted the pump?", "answers": []},
            {"question": "And why?"},
        ],
    )
    out = tmp_path / "train.jsonl"
    words = ["data", "ground", str(questions), "-o", str(out)]
    environment = {**os.environ, "EDGE_HOME": str(starter_home)}

    def edge(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge_tui.cli.main", *words, *more]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    done = edge("--docs", str(manual))
    assert done.returncode == 0, done.stderr
    assert "3 examples with their passages" in done.stdout
    assert "1 of the passages were named by the questions" in done.stdout
    assert "1 questions have no reply" in done.stdout
    rows = [json.loads(line)["messages"] for line in out.read_text().splitlines()]
    assert [[message["role"] for message in row] for row in rows] == [["system", "user", "assistant"]] * 3
    assert "The pump is oiled every 500 hours." in rows[0][1]["content"]
    assert rows[0][2]["content"] == "OIL every 500 hours"
    assert "every week" in rows[1][1]["content"]
    assert rows[2][2]["content"] == "The documents do not tell."
    assert "is there already" in edge("--docs", str(manual)).stderr
    assert edge().returncode == 2
