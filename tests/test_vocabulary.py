"""Names are the field's words: private ones that were given up do not come back (the glossary: CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GIVEN_UP = set("told deed deeds shelf shelving keeping noting holding ahead redo".split())
GIVEN_UP_IN_PACKAGES = GIVEN_UP | set(
    "untold shelves keeper keepers anyway coded coding ledger certainty surprise upkeep tend bury buried trouble "
    "quoting abstaining steering offers warming cuts".split()
)
FOLDERS = ("edge/edge", "index/edge_index", "converters/edge_converters", "tui/edge_tui", "tests")


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that is defined or used in a module, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.Name():
                yield node.id, node.lineno
            case ast.Attribute():
                yield node.attr, node.lineno
            case ast.arg() | ast.keyword() if node.arg:
                yield node.arg, node.lineno
            case ast.alias():
                yield from ((part, node.lineno) for part in (*node.name.split("."), node.asname or ""))
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
                yield node.name, node.lineno


def words(name: str) -> set[str]:
    """Of `read_ahead`, `ReadAhead` and `READ_AHEAD`: read and ahead."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_private_word_is_a_name(folder: str) -> None:
    given_up = GIVEN_UP if folder == "tests" else GIVEN_UP_IN_PACKAGES
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        where = file.relative_to(ROOT)
        found += [str(where)] if words(file.stem) & given_up else []
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [f"{where}:{line}: {name}" for name, line in names(tree) if words(name) & given_up]
    assert found == []


def test_a_name_falls_into_its_words() -> None:
    assert words("read_ahead") == words("ReadAhead") == words("READ_AHEAD") == {"read", "ahead"}
    assert words("KVCacheFiles") == {"kv", "cache", "files"}
