"""`cat FILE | edge ask "…"`: what is read from standard input, and what is left alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from docx import Document as Docx
from reportlab.pdfgen.canvas import Canvas

from edge.engines.scripted import ScriptedEngine
from edge.errors import DocumentError
from edge.model import Model
from edge.types import Sampling
from edge_tui.cli.ask import UNANSWERABLE
from edge_tui.cli.inputs import resources
from edge_tui.cli.main import cli

PUMP = "The coolant pump needs maintenance every 500 hours. It was installed in 2019 by Ada Nowak.\n"
QUESTION = "How often does the coolant pump need maintenance?"
SAVE = (
    "import sys; from pathlib import Path; from edge_tui.cli.inputs import standard_input\n"
    "standard_input.WAIT = float(sys.argv[2])\n"
    "found = standard_input.save_document(Path(sys.argv[1]), demanded=False)\n"
    "print(found and found.name, found and found.read_bytes(), flush=True)\n"
    "import os; os._exit(0)"
)


def saved(folder: Path, wait: float = 60.0, **streams: Any) -> tuple[str, str]:
    """What a process of its own takes from its standard input."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(folder), str(wait)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        **streams,
    )
    return done.stdout.strip(), done.stderr


@pytest.fixture
def silent_pipe() -> Iterator[int]:
    """What a server hands down that never writes and never closes."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def test_a_file_and_a_pipe_are_read(tmp_path: Path) -> None:
    wanted = f"standard input.txt {PUMP.encode()!r}"
    file = tmp_path / "pump.md"
    file.write_text(PUMP)
    with file.open() as stream:
        assert saved(tmp_path / "a", stdin=stream)[0] == wanted
    assert saved(tmp_path / "b", input=PUMP)[0] == wanted


def test_what_was_not_meant_for_us_is_left_alone(tmp_path: Path, silent_pipe: int) -> None:
    """/dev/null, no descriptor at all, an empty file, the rest of a file that a loop reads, a silent pipe."""
    assert saved(tmp_path / "null", stdin=subprocess.DEVNULL)[0] == "None None"
    assert saved(tmp_path / "closed", preexec_fn=lambda: os.close(0))[0] == "None None"
    assert saved(tmp_path / "empty", input="")[0] == "None None"
    lines = tmp_path / "lines"
    lines.write_text("first\nsecond\n")
    with lines.open("rb", buffering=0) as stream:
        stream.read(6)
        assert saved(tmp_path / "loop", stdin=stream)[0] == "None None"
        assert stream.read() == b"second\n"
    said, note = saved(tmp_path / "silent", wait=0.1, stdin=silent_pipe)
    assert said == "None None"
    assert "--docs -" in note


def test_a_socket_as_node_hands_it_down_is_read(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(PUMP.encode())
        ours.shutdown(socket.SHUT_WR)
        assert saved(tmp_path, stdin=theirs)[0].startswith("standard input.txt")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """Stands in for the weights; everything around it is real."""
    engine = ScriptedEngine(["The coolant pump needs maintenance every 500 hours."])
    monkeypatch.setattr(resources, "model_loader", lambda _request: lambda: Model(engine, name="scripted"))
    return engine


def ask(*arguments: str, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["ask", *arguments], input=input, catch_exceptions=False, standalone_mode=False)


def test_the_piped_text_is_the_document_with_name_and_places(home: Path, engine: ScriptedEngine) -> None:
    for arguments in ((QUESTION, "--json"), (QUESTION, "--docs", "-", "--json")):
        answer = json.loads(ask(*arguments, input=PUMP).stdout)
        (citation,) = answer["citations"]
        assert citation["document"] == "standard input"
        assert PUMP[citation["start"] : citation["end"]] == citation["quote"]
    assert "standard input · 0–51" in ask(QUESTION, input=PUMP).stdout
    assert not (home / "indexes").exists()
    assert not (home / "cache" / "docs").exists(), "nothing of it is kept"


def test_documents_that_are_named_stand_alone_or_beside_it(home: Path, engine: ScriptedEngine, tmp_path: Path) -> None:
    roof = tmp_path / "roof.md"
    roof.write_text("The roof was painted green in spring.\n")
    alone = json.loads(ask("What was painted green in spring?", "--docs", str(roof), "--json", input=PUMP).stdout)
    assert {passage["document"] for passage in alone["passages"]} == {str(roof)}
    both = json.loads(ask(QUESTION, "--docs", "-", "--docs", str(roof), "--json", input=PUMP).stdout)
    assert both["citations"][0]["document"] == "standard input"


def test_a_question_without_words_is_still_read_from_standard_input(home: Path, engine: ScriptedEngine) -> None:
    assert json.loads(ask("--json", input="What is up?\n").stdout)["question"] == "What is up?"
    with pytest.raises(click.UsageError, match="no question"):
        ask("--docs", "-", input=PUMP)
    with pytest.raises(click.UsageError, match="nothing came on standard input"):
        ask(QUESTION, "--docs", "-", input="")


def pdf() -> bytes:
    out = BytesIO()
    canvas = Canvas(out)
    canvas.drawString(72, 720, PUMP.strip())
    canvas.save()
    return out.getvalue()


def docx() -> bytes:
    out, document = BytesIO(), Docx()
    document.add_paragraph(PUMP.strip())
    document.save(out)
    return out.getvalue()


@pytest.mark.parametrize(("data", "ending"), [(pdf(), ".pdf"), (docx(), ".docx")])
def test_a_format_with_a_mark_is_known_by_its_content(
    home: Path, engine: ScriptedEngine, data: bytes, ending: str
) -> None:
    answer = json.loads(ask(QUESTION, "--json", input=data).stdout)
    assert answer["citations"][0]["document"].endswith(f"standard input{ending}")


def test_other_bytes_are_refused_with_a_way_out(home: Path, engine: ScriptedEngine) -> None:
    with pytest.raises(DocumentError, match="no text") as caught:
        ask(QUESTION, input=bytes(range(256)) * 40)
    assert "give that to --docs" in str(caught.value)


def test_a_script_knows_by_the_exit_code_whether_the_documents_tell(
    home: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def code(*arguments: str, input: str | None = PUMP) -> int:
        result: int = CliRunner().invoke(cli, ["ask", *arguments], input=input, standalone_mode=False).return_value
        return result

    assert code(QUESTION, "--exit-code") == 0
    assert code("Who won the chess championship of Reykjavik?", "--exit-code") == UNANSWERABLE == 4
    assert code("Who won the chess championship of Reykjavik?") == 0
    assert code(QUESTION, "--exit-code", input="") == UNANSWERABLE, "there are no documents"
    silent = ScriptedEngine(["The passages do not tell that."])
    monkeypatch.setattr(resources, "model_loader", lambda _request: lambda: Model(silent, name="scripted"))
    assert code(QUESTION, "--exit-code", "--min-answerable", "0") == UNANSWERABLE


def test_every_way_to_choose_tokens_reaches_the_engine(
    home: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Sampling] = []
    stream = Model.stream

    def watched(model: Model, *arguments: Any, sampling: Sampling, **others: Any) -> Any:
        seen.append(sampling)
        return stream(model, *arguments, sampling=sampling, **others)

    monkeypatch.setattr(Model, "stream", watched)
    flags = "--seed 7 --top-p 0.9 --top-k 30 --min-p 0.1 --temperature 0.7 --max-tokens 9 --repeat-penalty 1.3"
    done = ask("Say something.", *flags.split(), "--stop", "END", "--stop", "\n")
    wanted = Sampling(
        temperature=0.7, top_p=0.9, top_k=30, min_p=0.1, repeat_penalty=1.3, seed=7, max_tokens=9, stop=("END", "\n")
    )
    assert seen == [wanted]
    assert "without effect" not in done.stderr
    assert "--top-p: without effect at temperature 0" in ask("Say something.", "--top-p", "0.5").stderr
