"""Which files of a folder are meant, held against git itself, and what is left alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from edge_index.ingest.discovery import FileFilter, find_files


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"This is {name}.")


def found(folder: Path, **choice: object) -> set[str]:
    return {str(path.relative_to(folder)) for path in find_files([folder], FileFilter(**choice)).files}  # type: ignore[arg-type]


NAMES = (
    *("a.txt", "b.md", "old/a.txt", "old/keep.txt", "deep/old/c.txt", "deep/b.md", "deep/er/d.txt", "deep/er/skip.md"),
    *("build/out.txt", "deep/build/out.txt", "x[1].txt", "space name.txt", "trailing.txt", "ä/ö.txt", "log/2020/l.txt"),
)
RULES = {
    ".gitignore": "old/\n*.md\n!b.md\n/build\nx\\[1\\].txt\nspace name.txt\n# a.txt\nlog/**/l.txt\ndeep/**/skip*\n",
    "deep/.gitignore": "!old/\n/b.md\ner/d.txt\n",
    "ä/.gitignore": "*\n!ö.txt\n",
}


@pytest.mark.skipif(shutil.which("git") is None, reason="NOT PROVEN: what git itself takes; there is no git")
def test_what_git_ignores_is_ignored(tmp_path: Path) -> None:
    make(tmp_path, *NAMES)
    for name, rules in RULES.items():
        (tmp_path / name).write_text(rules)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    command = ["git", "-c", "core.quotepath=off", "-C", str(tmp_path), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wanted = {name for name in listed.split("\0") if name and not name.endswith(".gitignore")}
    assert found(tmp_path) == wanted
    assert wanted < set(NAMES)
    assert found(tmp_path, ignore=False) == set(NAMES)
    below = {name.removeprefix("deep/") for name in wanted if name.startswith("deep/")}
    assert found(tmp_path / "deep") == below, "rules of the folders around it hold, in a repository"
    assert find_files([tmp_path / "old" / "a.txt"]).files, "a file given by itself is always taken"


def test_patterns(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "b.md", "old/a.txt", "old/b.md", "deep/old/c.md", "notes.txt")
    assert found(tmp_path, include=("*.md",)) == {"b.md", "old/b.md", "deep/old/c.md"}
    assert found(tmp_path, exclude=("old/**",)) == {"a.txt", "b.md", "deep/old/c.md", "notes.txt"}
    assert found(tmp_path, exclude=("old/",)) == {"a.txt", "b.md", "notes.txt"}
    assert found(tmp_path, include=("*.md", "notes.*"), exclude=("/old",)) == {"b.md", "deep/old/c.md", "notes.txt"}


def test_links_and_special_files_are_reported(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "deep/b.txt")
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "dead.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.txt").symlink_to(tmp_path / "round.txt")
    (tmp_path / "also.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "device.txt").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket may be only 100 characters long
        server.bind("socket.txt")
        os.chdir(here)
        result = find_files([tmp_path])
    assert {path.name for path in result.files} == {"a.txt", "also.txt", "b.txt"}
    reasons = {Path(left.path).name: left.reason for left in result.left}
    assert reasons.keys() == {"up", "dead.txt", "round.txt", "device.txt", "pipe.txt", "socket.txt"}
    for name, word in {
        "up": "link to a folder",
        "dead.txt": "leads nowhere",
        "round.txt": "leads nowhere",
        "device.txt": "a device",
        "pipe.txt": "a pipe",
        "socket.txt": "a socket",
    }.items():
        assert word in reasons[name]
        assert name in reasons[name]


def test_a_very_deep_folder(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(400):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "a.txt").write_text("deep")
    assert [path.name for path in find_files([tmp_path]).files] == ["a.txt"]


def test_a_folder_that_a_repository_ignores_stays_ignored_when_it_is_given(tmp_path: Path) -> None:
    make(tmp_path, "old/a.txt", "old/deep/b.txt", "kept/a.txt")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("old/\n")
    assert found(tmp_path / "old" / "deep") == found(tmp_path / "old") == set()
    assert found(tmp_path / "old", ignore=False) == {"a.txt", "deep/b.txt"}
    assert found(tmp_path / "kept") == {"a.txt"}
