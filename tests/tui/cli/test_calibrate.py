"""`edge models calibrate` and --min-answerable as a person types them, with a real model that cannot judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge import load
from edge.chat import UNANSWERABLE
from edge.errors import KnowledgeError, UsageError
from edge.rag.answerability import Calibration, calibration_of, save
from edge_tui.cli.inputs import resources
from edge_tui.cli.main import cli
from index_fakes import WordEncoder

PUMP = "# Pump\n\nThe coolant pump needs maintenance every 500 hours. It was installed in 2019 by Ada Nowak.\n"


@pytest.fixture
def index(edge_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    encoder = WordEncoder()
    monkeypatch.setattr(resources, "open_encoder", lambda _settings: encoder)
    document, folder = tmp_path / "pump.md", tmp_path / "pump.index"
    document.write_text(PUMP)
    run("index", "add", document, "--index", folder)
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False)


def test_a_model_that_cannot_judge_is_found_out(smollm_path: Path, edge_home: Path) -> None:
    done = run("models", "calibrate", smollm_path)
    assert "its judgement is not asked for" in done.stderr
    with load(smollm_path) as model:
        found = calibration_of(model)
    assert found is not None
    assert (found.cases, found.believed) == (64, False)
    assert abs(found.auroc - 0.5) < 0.15


def test_questions_of_ones_own(index: Path, smollm_path: Path, tmp_path: Path) -> None:
    answerable = [
        "When was the pump installed?",
        "Who installed the pump?",
        "How often is pump maintenance?",
        "Which pump?",
    ]
    unanswerable = [
        "What does the pump cost?",
        "Who made the pump?",
        "How heavy is the pump?",
        "Who is Ada Nowak's boss?",
    ]
    file = tmp_path / "own.jsonl"
    rows = [*((question, True) for question in answerable), *((question, False) for question in unanswerable)]
    lines = [json.dumps({"question": question, "answerable": answerable}) for question, answerable in rows]
    file.write_text("\n".join([*lines, "", '{"question": "zebra quux?", "answerable": false}']))
    done = run("models", "calibrate", smollm_path, "--questions", file, "--index", index, "--json")
    found = json.loads(done.stdout)
    assert found["cases"] == 8, "where search finds nothing, there is nothing to judge"
    assert 0 <= found["auroc"] <= 1
    file.write_text(f"{lines[0]}\n{{}}\n")
    with pytest.raises(UsageError, match="line 2 is not of the form"):
        run("models", "calibrate", smollm_path, "--questions", file, "--index", index)
    with pytest.raises(KnowledgeError, match="there is no index"):
        run("models", "calibrate", smollm_path, "--questions", file, "--index", "elsewhere")


def test_certainty_decides_whether_a_doubtful_answer_is_given(index: Path, smollm_path: Path) -> None:
    with load(smollm_path) as model:
        save(Calibration(slope=0.01, offset=0.0, auroc=0.9, cases=64), model)
    asked = ("ask", "Who installed the pump?", "--index", index, "-m", smollm_path, "--max-tokens", "8", "--json")
    unsure = json.loads(run(*asked, "--min-answerable", "0.6").stdout)
    assert (unsure["text"], round(unsure["answerable"], 1)) == (UNANSWERABLE, 0.5)
    assert unsure["evidence"], "what comes nearest is still shown"
    assert json.loads(run(*asked, "--min-answerable", "0.3").stdout)["text"] != UNANSWERABLE
