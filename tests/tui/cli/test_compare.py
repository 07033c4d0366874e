"""`edge compare` and `edge advise`: what is typed, printed, written and kept; the report as a browser would read it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.engines.scripted import ScriptedEngine
from edge.errors import KnowledgeError, UsageError
from edge.evaluation.run import read_comparison
from edge.model import Model
from edge_tui.cli.compare import duration
from edge_tui.cli.inputs import resources
from edge_tui.cli.main import cli
from edge_tui.cli.reports.comparison_report import report

PUMP = "# Pump\n\nThe coolant pump needs maintenance every 500 hours. It was installed in 2019 by Ada Nowak.\n"
NASTY = "<script>alert(1)</script> & \x1b[2J"
VOID = {"meta", "link", "input", "br", "img", "hr", "line", "rect", "circle", "path"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(PUMP)
    return folder


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    at = PUMP.index("500 hours")
    rows: list[dict[str, Any]] = [
        {
            "question": f"How often does the coolant pump need maintenance, {day}?",
            "answers": [{"text": "500 hours", "start": at, "end": at + 9}],
            "document": "pump.md",
            "paragraph": {"start": 8, "end": len(PUMP)},
        }
        for day in "Monday Tuesday Wednesday Thursday Friday Saturday Sunday today tomorrow soon later".split()
    ]
    rows.append({"question": f"Who sold the coolant pump {NASTY}?", "answers": []})
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def says(prompt: str) -> str:
    if "every 500 hours" in prompt:
        return "The coolant pump needs maintenance every 500 hours."
    return f"It needs love. {NASTY}"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """Stands in for the weights; everything around it is real."""
    engine = ScriptedEngine(says)

    def loader(request: Any) -> Callable[[], Model]:
        def load() -> Model:
            model = Model(engine, name="scripted")
            if request.adapter:
                model.add_adapter(request.adapter)
            return model

        return load

    monkeypatch.setattr(resources, "model_loader", loader)
    return engine


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False)


def test_the_table_the_verdict_and_the_advice(home: Path, docs: Path, asked: Path, engine: ScriptedEngine) -> None:
    done = run("compare", asked, "--docs", docs)
    assert re.search(r"^ +base +rag +oracle$", done.stdout, re.MULTILINE)
    assert re.search(r"^answer in reply +0\.00 +1\.00 +1\.00$", done.stdout, re.MULTILINE)
    assert re.search(r"^citation right +1\.00 +1\.00$", done.stdout, re.MULTILINE)
    assert "clearly before the base (0 of 12): +1.00" in done.stdout
    assert re.search(r"By the first answers it takes about .+ for \d+ more answers\.", done.stderr)
    assert "tuned was left out: there is no adapter (--adapter LORA)." in done.stderr
    count = len(engine.prompts)
    again = run("compare", asked, "--docs", docs)
    assert again.stdout == done.stdout
    assert len(engine.prompts) == count
    assert "kept and not asked for again" in again.stderr

    advice = run("advise", "--index", _docs_index(home))
    assert advice.stdout.startswith("Answer from your documents (RAG); leave the model as it is.\n")
    assert "12 of 12 against 0 of 12 as asked" in advice.stdout
    assert "The index holds 1 document in 1 passage" in advice.stdout
    (docs / "pump.md").write_text(PUMP.replace("500", "400"))
    assert "1 of them changed" in run("advise", "--index", _docs_index(home)).stdout


def _docs_index(home: Path) -> Path:
    (path,) = (home / "cache" / "docs").iterdir()
    return path


def test_json_and_files(home: Path, docs: Path, asked: Path, engine: ScriptedEngine, tmp_path: Path) -> None:
    lora = tmp_path / "legal.gguf"
    lora.write_bytes(b"GGUF")
    out = tmp_path / "new" / "c.json"
    done = run(
        "compare", asked, "--index", "manuals", "-a", lora, "--json", "-o", out, "--limit", 3, "--keep", tmp_path / "k"
    ) if (run("index", "add", docs, "--index", "manuals")) else None  # fmt: skip
    assert done is not None
    printed = json.loads(done.stdout)
    assert printed == json.loads(out.read_text())
    assert printed["variants"] == ["base", "rag", "tuned", "rag+tuned", "oracle"]
    assert len(printed["asked"]) == 3
    assert len(printed["skills"]) == 80
    assert len((tmp_path / "k").read_text().splitlines()) == len(printed["rows"]) + 80
    assert not (home / "comparisons").exists()
    assert json.loads(run("advise", out, "--json").stdout)["recommendation"] == "ask more"
    only = run("compare", asked, "-a", lora, "--variants", "base, tuned", "--no-skills", "--json")
    assert json.loads(only.stdout)["variants"] == ["base", "tuned"]


def test_examples_are_shown(home: Path, asked: Path, engine: ScriptedEngine, tmp_path: Path) -> None:
    examples = tmp_path / "examples.jsonl"
    examples.write_text('{"question": "How often does the fan need oil?", "answers": ["weekly"]}\n')
    run("compare", asked, "--examples", examples, "--variants", "few-shot", "--limit", 1)
    assert "weekly" in engine.prompts[0]
    assert run("advise", "--data", examples).stdout.startswith("There are not enough questions")


def test_wrong_usage(home: Path, asked: Path, engine: ScriptedEngine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rag was left out: there are no documents"):
        run("compare", asked, "--variants", "base,rag")
    with pytest.raises(KnowledgeError, match="no index 'nowhere'"):
        run("compare", asked, "--index", "nowhere")
    with pytest.raises(UsageError, match="nothing to advise on"):
        run("advise")
    (tmp_path / "bad.jsonl").write_text('{"question": "fine"}\n{"quest')
    with pytest.raises(UsageError, match="line 2"):
        run("compare", tmp_path / "bad.jsonl")
    assert engine.prompts == []


def test_ctrl_c_leaves_a_report_and_130(
    home: Path, docs: Path, asked: Path, engine: ScriptedEngine, tmp_path: Path
) -> None:
    def interrupted(prompt: str) -> str:
        if len(engine.prompts) == 5:
            raise KeyboardInterrupt
        return says(prompt)

    engine._reply = interrupted
    html = tmp_path / "report.html"
    from edge_tui.cli.main import _run

    assert (
        _run(["compare", str(asked), "--docs", str(docs), "--html", str(html), "-o", str(tmp_path / "c.json")]) == 130
    )
    assert len(read_comparison(tmp_path / "c.json").rows) == 4
    assert "this run was interrupted" in html.read_text()


class Page(HTMLParser):
    """Looks at every tag: what it loads, whether it is closed, what stands in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_needs_nothing_else_and_nobody_can_write_into_it(
    home: Path, docs: Path, asked: Path, engine: ScriptedEngine, tmp_path: Path
) -> None:
    html = tmp_path / "report.html"
    run("compare", asked, "--docs", docs, "--html", html, "-o", tmp_path / "c.json")
    text = html.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "http" not in re.sub(r'http-equiv="', "", text)
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "action", "style"} & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text
    assert "url(" not in text
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    words = " ".join(page.words)
    assert "<script>alert(1)</script>" in words
    assert "\x1b" not in text
    assert sum(tag == "article" for tag, _ in page.tags) == 12
    kinds = [attributes["data-kinds"] for tag, attributes in page.tags if tag == "article"]
    assert kinds[0] == "differ"
    assert kinds[-1] == "unanswerable differ silent"
    assert "clearly before the base" in words
    svgs = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in svgs)
    assert any("As asked, rag: 1.00" in str(svg["aria-label"]) for svg in svgs)
    for tag, attributes in page.tags:
        if tag in ("th",):
            assert attributes.get("scope") in ("col", "row")
        if tag == "rect":
            x, width = float(attributes["x"] or 0), float(attributes["width"] or 0)
            assert 0 <= x <= 100
            assert 0 <= width <= 100.5 - x
    assert report(read_comparison(tmp_path / "c.json")) == text


def test_times_are_for_people() -> None:
    assert [duration(s) for s in (0.2, 42, 600, 9000)] == ["a second", "42 seconds", "10 minutes", "2.5 hours"]


def test_the_starter_model_reads_what_the_base_does_not_know(home: Path, docs: Path, tmp_path: Path) -> None:
    """Real weights, real encoder, real index; each of four questions in three variants."""
    asked = tmp_path / "q.jsonl"
    rows = [
        {"question": "How often does the coolant pump need maintenance?", "answers": ["500 hours"]},
        {"question": "Who installed the coolant pump?", "answers": ["Ada Nowak"]},
        {"question": "When was the coolant pump installed?", "answers": ["2019"]},
        {"question": "What do penguins eat on Mondays?", "answers": []},
    ]
    asked.write_text("\n".join(json.dumps(row | {"document": "pump.md"}) for row in rows))
    out = tmp_path / "c.json"
    options = ("--docs", docs, "--max-tokens", "24", "--context", "1024", "--threads", "1", "-o", out)
    assert "rag" in run("compare", asked, *options).stdout
    done = read_comparison(out)
    assert done.variants == ("base", "rag")
    assert done.mean("rag", "contains") == 1.0
    assert (done.mean("base", "contains") or 0) < 1.0
    assert done.mean("rag", "citation") == 1.0
    penguins = next(row for row in done.rows if row.variant == "rag" and row.question == 3)
    assert penguins.text == "The documents do not tell."
    assert (done.mean("rag", "nll_per_token") or 99) < (done.mean("base", "nll_per_token") or 0)
    assert done.mean("rag", "prompt_seconds") is not None
    advice = run("advise", out).stdout
    assert advice.startswith("There are not enough questions to decide.")
    assert "4 questions were asked" in advice
