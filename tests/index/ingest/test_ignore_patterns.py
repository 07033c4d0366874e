"""Ignore patterns: git itself is the oracle for what they mean, and no pattern may take longer than its length says."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from edge_index.ingest.discovery import FileFilter, find_files
from edge_index.ingest.ignore_patterns import Patterns

_NAMES = ["a", "b", "ab", "ba", "aab", "a.b", "a b", "A", "[a]", "a-b", "!a", "#a", "a]", "x\\y", "-"]
_PIECES = [
    *["a", "b", "A", ".", "-", " ", "x"],
    *["*", "*", "?", "**", "/", "/", "**/", "/**", "/**/", "***", "*.b"],
    *["[ab]", "[!a]", "[^a-]", "[a-c]", "[c-a]", "[]a]", "[[:alpha:]]", "[![:upper:]x]", "[a", "[[:nope:]]", "[\\]]"],
    *["\\a", "\\*", "\\[", "\\ ", "\\!", "[\\a-b]", "[a\\-b]", "[--a]", "[[:a]", "[a-]", "\\"],
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of all kinds of names, three deep."""
    if shutil.which("git") is None:
        pytest.skip("git is the oracle")
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    generator = random.Random(7)
    for first in _NAMES:
        folder = root / first
        if generator.random() < 0.4:
            folder.touch()
            continue
        folder.mkdir()
        for second in generator.sample(_NAMES, 5):
            inner = folder / second
            if generator.random() < 0.6:
                inner.touch()
            else:
                inner.mkdir()
                for third in generator.sample(_NAMES, 3):
                    (inner / third).touch()
    return root


def below(root: Path) -> list[tuple[str, bool]]:
    found = ((path.relative_to(root).as_posix(), path.is_dir()) for path in sorted(root.rglob("*")))
    return [(path, folder) for path, folder in found if not path.startswith(".git")]


def ignored_by_git(root: Path, lines: list[str], paths: list[str]) -> set[str]:
    (root / ".gitignore").write_text("\n".join(lines))
    asked = "\0".join(paths).encode()
    command = ["git", "-C", str(root), "check-ignore", "--no-index", "--stdin", "-z"]
    done = subprocess.run(command, input=asked, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {path for path in done.stdout.decode().split("\0") if path}


def test_what_is_ignored_is_what_git_ignores(repository: Path) -> None:
    generator = random.Random(15)
    tree = below(repository)
    paths = [path for path, _ in tree]
    ignored = 0
    for _ in range(250):
        lines = []
        for _ in range(generator.randint(1, 4)):
            pieces = "".join(generator.choices(_PIECES, k=generator.randint(1, 5)))
            lines.append(generator.choice(["", "", "", "!", "/"]) + pieces + generator.choice(["", "", "/", " ", "  "]))
        patterns = Patterns(lines)
        ours = {path for path, folder in tree if patterns.cover(path, folder)}
        assert ours == ignored_by_git(repository, lines, paths), lines
        ignored += len(ours)
    assert ignored > 1000


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 10 + "*b",
        "*a*a*a*a*a*a*a*a*a*a*b",
        "/" + "*a" * 100 + "*b",
        "**/" * 30 + "x",
        "**/a/" * 20 + "b",
        "a/**/" * 20 + "b",
        "*?" * 60 + "b",
        "[a-z]*" * 60 + "b",
        "**" * 60 + "b",
        "***a" * 40 + "/b",
    ],
)
def test_no_pattern_blows_up(pattern: str) -> None:
    """Each of these takes a matcher that goes back in the name from seconds to for ever; ours takes milliseconds."""
    name = "a" * 240
    deep = "/".join(["a"] * 120)
    begun = time.process_time()
    patterns = Patterns([pattern])
    for _ in range(3):
        assert not patterns.cover(name, folder=False)
        assert not patterns.cover(f"{deep}/{name}", folder=False)
    assert time.process_time() - begun < 20


def test_a_folder_with_such_a_pattern_is_walked(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_bytes("\ufeff*a*a*a*a*a*a*a*a*a*a*b\r\n*.log\r\n".encode())
    (tmp_path / ("a" * 240)).touch()
    (tmp_path / "x.log").touch()
    (tmp_path / "kept.md").write_text("# Kept")
    found = find_files([tmp_path], FileFilter(include=("*k*k*k*k*k*k*k*k*x", "*.md"), exclude=("*z" * 50,)))
    assert [path.name for path in found.files] == ["kept.md"]
