"""`edge ask` and `edge index` with the starter encoder and a model that says what the test told it to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.engines.scripted import ScriptedEngine
from edge.errors import EdgeError, KnowledgeError, StorageError
from edge.model import Model
from edge_tui.cli.inputs import resources
from edge_tui.cli.main import cli

PUMP = "# Pump\n\nThe coolant pump needs maintenance every 500 hours. It was installed in 2019 by Ada Nowak.\n"
ROOF = "# Roof\n\nThe roof was painted green in spring. Its tiles come from a factory near Leipzig.\n"
SPOKEN = "The coolant pump needs maintenance every 500 hours. Elephants invented the pump."


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(PUMP)
    (folder / "roof.md").write_text(ROOF)
    return folder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """Stands in for the weights; everything around it is real."""
    engine = ScriptedEngine([SPOKEN])
    monkeypatch.setattr(resources, "model_loader", lambda _request: lambda: Model(engine, name="scripted"))
    return engine


def run(*arguments: str | Path, input: str | None = None) -> Result:
    return CliRunner().invoke(
        cli, [str(a) for a in arguments], input=input, catch_exceptions=False, standalone_mode=False
    )


def fields(record: dict[str, Any], *names: str) -> list[Any]:
    return [record[name] for name in names]


def test_the_documents_speak_first_then_the_model_then_the_check(
    home: Path, docs: Path, engine: ScriptedEngine
) -> None:
    out = run("ask", "How often does the coolant pump need maintenance?", "--docs", docs).stdout
    evidence, rest = out.split("Answer\n")
    assert "[1] “The coolant pump needs maintenance every 500 hours.”" in evidence
    start = PUMP.index("The coolant")
    assert str(docs / "pump.md") in evidence
    assert f"{start}–{start + len('The coolant pump needs maintenance every 500 hours.')}" in evidence
    assert rest.startswith(SPOKEN)
    checked = rest.split("Checked against the documents\n")[1]
    assert "[1] The coolant pump needs maintenance every 500 hours." in checked
    assert "°  Elephants invented the pump." in checked
    assert "not in the documents" in checked


def test_json_is_the_answer_record_and_every_quote_stands_in_its_file(
    home: Path, docs: Path, engine: ScriptedEngine
) -> None:
    done = run("ask", "How often does the pump need maintenance?", "--docs", docs, "--json")
    answer = json.loads(done.stdout)
    assert set(answer) == {
        "question",
        "text",
        "evidence",
        "citations",
        "unsupported",
        "passages",
        "usage",
        "context_usage",
        "finish",
        "answerable",
        "thinking",
        "parsed",
    }
    assert answer["text"] == SPOKEN
    assert answer["question"] == "How often does the pump need maintenance?"
    assert [claim["text"] for claim in answer["unsupported"]] == ["Elephants invented the pump."]
    quotes = [*answer["evidence"], *answer["citations"]]
    assert len(quotes) >= 2
    for quote in quotes:
        text = Path(quote["document"]).read_text()
        assert text[quote["start"] : quote["end"]] == quote["quote"]


def test_a_question_may_come_from_standard_input(home: Path, docs: Path, engine: ScriptedEngine) -> None:
    done = run("ask", "--docs", docs, "--json", input="What colour has the roof?\n")
    assert json.loads(done.stdout)["question"] == "What colour has the roof?"
    assert "What colour has the roof?" in engine.prompts[0]


def test_options_reach_the_model(home: Path, docs: Path, engine: ScriptedEngine) -> None:
    options = ("--max-tokens", "4", "-s", "Speak like a pirate.", "-k", "1")
    answer = json.loads(run("ask", "the pump?", "--docs", docs, "--json", *options).stdout)
    assert answer["text"] == "The coolant pump needs"
    assert answer["finish"] == "length"
    assert len(answer["passages"]) == 1
    assert "Speak like a pirate." in engine.prompts[0]
    assert "Cut off after" in run("ask", "the pump?", "--docs", docs, *options).stderr


def test_documents_are_read_again_only_when_they_changed(
    home: Path, docs: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    real = resources.add_documents

    def spy(*arguments: Any) -> Any:
        reports.append(real(*arguments))
        return reports[-1]

    monkeypatch.setattr(resources, "add_documents", spy)
    run("ask", "the pump?", "--docs", docs)
    run("ask", "the roof?", "--docs", docs)
    (docs / "roof.md").write_text(ROOF.replace("green", "blue"))
    (docs / "pump.md").unlink()
    found = json.loads(run("ask", "What colour was the roof painted?", "--docs", docs, "--json").stdout)
    assert [len(r.added) for r in reports] == [2, 0, 0]
    assert [len(r.unchanged) for r in reports] == [0, 2, 0]
    assert [len(r.updated) for r in reports] == [0, 0, 1]
    assert [len(r.removed) for r in reports] == [0, 0, 1]
    assert found["evidence"][0]["quote"] == "The roof was painted blue in spring."
    assert len(list((home / "cache" / "docs").iterdir())) == 1


def test_text_of_documents_cannot_steer_the_terminal(home: Path, docs: Path, engine: ScriptedEngine) -> None:
    (docs / "pump.md").write_text("The pump \x1b[2J\x1b]0;owned\x07 needs maintenance every 500 hours.\n")
    done = run("ask", "How often does the pump need maintenance?", "--docs", docs)
    assert "every 500 hours" in done.stdout
    assert "\x1b" not in done.stdout + run("index", "search", "pump", "--index", _only_docs_index(home)).stdout


def _only_docs_index(home: Path) -> Path:
    (path,) = (home / "cache" / "docs").iterdir()
    return path


def test_a_folder_without_a_document_is_an_error(home: Path, tmp_path: Path, engine: ScriptedEngine) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for command in (("ask", "why?", "--docs", empty), ("index", "add", empty)):
        with pytest.raises(KnowledgeError, match=re.escape(str(empty))):
            run(*command)
    (empty / "nothing.txt").touch()
    for command in (("ask", "why?", "--docs", empty), ("index", "add", empty)):
        with pytest.raises(KnowledgeError):
            run(*command)
    with pytest.raises(StorageError, match="does not exist"):
        run("ask", "why?", "--docs", tmp_path / "gone")
    assert engine.prompts == []
    assert not (home / "indexes" / "default").exists()
    assert list((home / "cache").glob("docs/*")) == []


def test_without_documents_only_the_model_answers_and_says_so(home: Path, engine: ScriptedEngine) -> None:
    done = run("ask", "why?")
    assert done.stdout.strip() == f"Answer\n{SPOKEN}"
    assert "No documents" in done.stderr


def test_an_index_is_filled_listed_searched_checked_and_emptied(home: Path, docs: Path, engine: ScriptedEngine) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    done = run("index", "add", docs, "--index", "house")
    assert done.stdout.startswith("2 added, 0 updated, 0 unchanged, 0 removed, 1 failed")
    assert "broken.pdf" in done.stderr
    report = json.loads(run("index", "add", docs, "--index", "house", "--json").stdout)
    assert sorted(map(len, fields(report, "added", "updated", "unchanged", "failed"))) == [0, 0, 1, 2]
    assert [entry["name"] for entry in json.loads(run("index", "list", "--json").stdout)] == ["house"]
    listed = json.loads(run("index", "list", "--index", "house", "--json").stdout)
    assert {Path(document["path"]).name for document in listed} == {"pump.md", "roof.md"}
    assert str(docs / "pump.md") in run("index", "list", "--index", "house").stdout

    first = json.loads(run("index", "search", "pump maintenance", "--index", "house", "-k", "1", "--json").stdout)
    assert [Path(passage["document"]).name for passage in first] == ["pump.md"]
    assert PUMP[first[0]["start"] : first[0]["end"]] == first[0]["text"]
    assert "pump.md" in run("index", "search", "pump", "--index", home / "indexes" / "house").stdout

    answer = json.loads(run("ask", "the coolant pump?", "--index", "house", "--json").stdout)
    assert answer["citations"]

    assert "whole" in run("index", "check", "--index", "house").stdout
    assert run("index", "remove", docs / "pump.md", "--index", "house").stdout == "1 removed\n"
    with pytest.raises(KnowledgeError, match="not in the index"):
        run("index", "remove", docs / "pump.md", "--index", "house")
    assert len(json.loads(run("index", "list", "--index", "house", "--json").stdout)) == 1


def test_the_default_index_is_used_by_itself(home: Path, docs: Path, engine: ScriptedEngine) -> None:
    run("index", "add", docs / "roof.md")
    assert (home / "indexes" / "default").exists()
    done = run("ask", "What colour was the roof painted?")
    assert "The roof was painted green in spring." in done.stdout
    assert "default" in done.stderr
    with pytest.raises(KnowledgeError, match="edge index add"):
        run("ask", "why?", "--index", "misspelt")
    assert not (home / "indexes" / "misspelt").exists()


def test_an_error_of_the_model_comes_after_the_evidence(
    home: Path, docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documents need no model: their sentences stand on the screen when its loading fails."""

    def broken() -> Model:
        raise EdgeError("the weights are damaged; fetch them again")

    monkeypatch.setattr(resources, "model_loader", lambda _request: broken)
    from edge_tui.cli.main import _run

    assert _run(["ask", "the coolant pump?", "--docs", str(docs)]) == 1
    captured = capsys.readouterr()
    assert "Nearest in your documents" in captured.out
    assert captured.err.strip().endswith("edge: the weights are damaged; fetch them again")


def test_the_starter_model_answers_from_a_file(home: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command: Callable[..., Result] = run
    options = ("--docs", docs / "pump.md", "--json", "--max-tokens", "40", "--context", "1024")
    answer = json.loads(run_command("ask", "How often does the coolant pump need maintenance?", *options).stdout)
    assert "500" in answer["text"]
    assert answer["context_usage"]["limit"] == 1024
    assert 0 < answer["usage"]["completion_tokens"] <= 40
    assert answer["citations"][0]["quote"] in PUMP


def test_what_the_model_thinks_is_no_part_of_what_is_printed_unless_asked_for(
    home: Path, docs: Path, engine: ScriptedEngine
) -> None:
    engine._reply = lambda _prompt: f"<think>\nNobody mentions elephants.\n</think>\n\n{SPOKEN}"
    asked = ("ask", "How often does the coolant pump need maintenance?", "--docs", docs)
    plain = run(*asked)
    assert "Nobody mentions" not in plain.output
    assert plain.stdout.split("Answer\n")[1].startswith(SPOKEN)
    thinking = run(*asked, "--think")
    assert thinking.stdout == plain.stdout
    assert "Thinking\nNobody mentions elephants.\n" in thinking.stderr
    answer = json.loads(run(*asked, "--json").stdout)
    assert (answer["text"], answer["thinking"]) == (SPOKEN, "Nobody mentions elephants.")
