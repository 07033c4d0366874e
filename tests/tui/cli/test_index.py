"""`edge index` as a person types it, with an encoder that needs no model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edge.errors import EncoderError, KnowledgeError, UsageError
from edge_tui.cli.inputs import resources
from edge_tui.cli.main import cli
from index_fakes import SUPPORT, OtherEncoder, WordEncoder

PUMP = "# Pump\n\nThe coolant pump needs maintenance every 500 hours. It was installed in 2019 by Ada Nowak.\n"
ROOF = "# Roof\n\nThe roof was painted green in spring. Its tiles come from a factory near Leipzig.\n"


@pytest.fixture(autouse=True)
def encoder(edge_home: Path, monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    encoder = WordEncoder()
    monkeypatch.setattr(resources, "open_encoder", lambda _settings: encoder)
    return encoder


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(PUMP)
    (folder / "roof.md").write_text(ROOF)
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False)


def test_metadata_is_kept_listed_and_searched_by(docs: Path) -> None:
    run(
        "index",
        "add",
        docs / "pump.md",
        "--metadata",
        "year=2019",
        "--metadata",
        "place=hall=3",
        "--metadata",
        "zip=07",
    )
    run("index", "add", docs / "roof.md", "--metadata", "year=2024")
    listed = json.loads(run("index", "list", "--index", "default", "--json").stdout)
    assert [entry["metadata"] for entry in listed] == [{"year": 2019, "place": "hall=3", "zip": "07"}, {"year": 2024}]
    found = json.loads(run("index", "search", "roof painted", "--where", "year=2024", "--json").stdout)
    assert [(Path(passage["document"]).name, passage["metadata"]) for passage in found] == [("roof.md", {"year": 2024})]
    assert json.loads(run("index", "search", "roof painted", "--where", "year=2019", "--json").stdout) == []
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        run("index", "add", docs, "--metadata", "year")


def test_of_many_unknown_kinds_the_most_frequent_are_counted(docs: Path) -> None:
    for number in range(12):
        (docs / f"one.{number}x").write_bytes(b"x")
    for number in range(3):
        (docs / f"{number}.png").write_bytes(b"x")
    said = run("index", "add", docs).stderr
    assert "15 files were left alone, because edge does not read their format: 3 .png, 1 .0x" in said
    assert " and 5 of other kinds" in said


def test_the_report_says_what_to_do(docs: Path) -> None:
    for number in range(7):
        (docs / f"{number}.txt").touch()
    (docs / "scan.pdf").write_bytes(b"%PDF-1.7 and no more")
    for name in ("a.png", "b.PNG", "c.zip", "blob"):
        (docs / name).write_bytes(b"x")
    (docs / "round").symlink_to(docs)
    (docs / ".gitignore").write_text("drafts/\n")
    (docs / "drafts").mkdir()
    (docs / "drafts" / "new.md").write_text(ROOF)
    done = run("index", "add", docs)
    assert done.stdout.startswith("2 added, 0 updated, 0 unchanged, 0 removed, 8 failed; 2 passages written, 2 of them")
    said = done.stderr
    assert "not indexed, 7 files: each is empty" in said
    assert said.count("is empty") == 1
    assert "and 2 more" in said
    assert "scan.pdf" in said
    assert (
        "4 files were left alone, because edge does not read their format: 2 .png, 1 .zip, 1 without a suffix" in said
    )
    assert "round is a link to a folder" in said
    assert "1 files and folders are left out by a pattern or a .gitignore" in said
    assert run("index", "add", docs, "--no-ignore", "--exclude", "*.txt").stdout.startswith("1 added, 0 updated, 2")
    (docs / "pump.md").rename(docs / "pumps.md")
    assert "1 moved, 0 removed" in run("index", "add", docs, "--include", "*.md").stdout


def test_what_is_stale_is_marked_and_the_old_text_shown(docs: Path) -> None:
    run("index", "add", docs)
    (docs / "pump.md").unlink()
    (docs / "roof.md").write_text(ROOF.replace("green", "blue"))
    listed = {
        Path(d["path"]).name: d["stale"]
        for d in json.loads(run("index", "list", "--index", "default", "--json").stdout)
    }
    assert listed == {"pump.md": "gone", "roof.md": "changed"}
    assert "gone" in run("index", "list", "--index", "default").stdout
    (found,) = json.loads(run("index", "search", "coolant pump", "-k", "1", "--json").stdout)
    assert found["stale"] == "gone"
    assert "the file is gone" in run("index", "search", "coolant pump").stdout
    start = PUMP.index("It was")
    span = f"{docs / 'pump.md'}:{start}-{start + 24}"
    shown = run("index", "show", span).stdout
    assert "»It was installed in 2019« by Ada Nowak." in shown
    assert "Pump · the file is gone" in shown
    excerpt = json.loads(run("index", "show", f"pump.md:{start}-{start + 24}", "-C", "10", "--json").stdout)
    assert excerpt["text"] == PUMP[start : start + 24]
    assert (excerpt["before"], excerpt["after"]) == (PUMP[start - 10 : start], PUMP[start + 24 : start + 34])
    assert (excerpt["heading"], excerpt["stale"], len(excerpt["sha256"])) == ("Pump", "gone", 64)
    assert run("index", "show", "roof.md").stdout.endswith(ROOF + "\n")
    for place, error in (
        ("roof.md:5-9999", UsageError),
        ("attic.md", KnowledgeError),
        ("attic.md:1-2", KnowledgeError),
    ):
        with pytest.raises(error):
            run("index", "show", place)


def test_shown_text_cannot_steer_the_terminal(docs: Path) -> None:
    (docs / "evil.txt").write_text("The pump \x1b[2J\x1b]0;owned\x07 needs oil.")
    run("index", "add", docs)
    assert "\x1b" not in run("index", "show", "evil.txt").stdout + run("index", "show", "evil.txt:4-20").stdout


def test_another_encoder_is_offered_a_rebuild(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "add", docs)
    assert run("index", "rebuild").stdout == "Nothing is outdated.\n"
    monkeypatch.setattr(resources, "open_encoder", lambda _settings: OtherEncoder())
    with pytest.raises(EncoderError, match="edge index rebuild"):
        run("index", "search", "pump")
    (docs / "new.md").write_text("Something new.")
    with pytest.raises(EncoderError, match="edge index rebuild"):
        run("index", "add", docs)
    done = run("index", "rebuild")
    assert "2 documents with 2 passages are to be made afresh" in done.stderr
    assert "takes about 1 seconds" in done.stderr
    assert done.stdout == "2 documents made afresh; 2 passages encoded\n"
    assert run("index", "add", docs).stdout.startswith("1 added, 0 updated, 2 unchanged")
    assert "pump.md" in run("index", "search", "coolant pump").stdout


def test_a_person_at_a_terminal_is_asked(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "add", docs)
    monkeypatch.setattr(resources, "open_encoder", lambda _settings: OtherEncoder())
    (docs / "new.md").write_text("Something new.")
    monkeypatch.setattr(resources, "_at_a_terminal", lambda: True)
    runner = CliRunner()
    with pytest.raises(EncoderError):
        runner.invoke(cli, ["index", "add", str(docs)], input="n\n", catch_exceptions=False, standalone_mode=False)
    done = runner.invoke(cli, ["index", "add", str(docs)], input="y\n", catch_exceptions=False, standalone_mode=False)
    assert done.stdout.startswith("1 added, 0 updated, 2 unchanged")


def test_export(docs: Path, tmp_path: Path) -> None:
    run("index", "add", docs)
    out = tmp_path / "out.jsonl"
    assert "2 documents and 2 passages written" in run("index", "export", out).stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["text"] for line in lines if line["kind"] == "document"} == {PUMP, ROOF}
    assert run("index", "export", "-").stdout == out.read_text()
    with pytest.raises(UsageError, match="exists already"):
        run("index", "export", out)


def test_nothing_is_loaded_when_nothing_changed(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "add", docs)

    def load(_settings: object) -> WordEncoder:
        raise AssertionError("the encoder is not needed")

    monkeypatch.setattr(resources, "open_encoder", load)
    assert run("index", "add", docs).stdout.startswith("0 added, 0 updated, 2 unchanged")


WATCH = """
import sys
from edge_tui.cli.inputs import resources as opening
from edge_tui.cli.main import main
from index_fakes import WordEncoder
opening.open_encoder = lambda _settings: WordEncoder()
main(["index", "watch", sys.argv[1], "--index", sys.argv[2]])
"""


def test_watch_ends_cleanly(docs: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", WATCH, docs, tmp_path / "index"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=docs,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])},
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["added pump.md\n", "added roof.md\n"]
    (docs / "roof.md").write_text(ROOF.replace("green", "blue"))
    assert process.stdout.readline() == "updated roof.md\n"
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert "No longer watching." in said
    assert "Traceback" not in said
