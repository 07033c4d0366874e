"""How the house is built: no two files that need one another, no folder too full or too deep, each with its word."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"edge": "edge", "edge_index": "index", "edge_converters": "converters", "edge_tui": "tui"}

FOLDERS = [
    folder
    for package, place in PACKAGES.items()
    for folder in [ROOT / place / package, *(ROOT / place / package).rglob("*")]
    if folder.is_dir() and any(folder.glob("*.py"))
]
MODULES = {
    ".".join(file.relative_to(ROOT / place).with_suffix("").parts).removesuffix(".__init__"): file
    for package, place in PACKAGES.items()
    for file in (ROOT / place / package).rglob("*.py")
}


def imported(name: str) -> set[str]:
    """The modules that a module names in an import statement, wherever in it that stands."""
    found: set[str] = set()
    for statement in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{name} imports by dots"
            inside = {f"{statement.module}.{alias.name}" for alias in statement.names}
            found |= {each if each in MODULES else str(statement.module) for each in inside}
    return found & MODULES.keys() - {name}


def test_no_files_import_one_another_in_a_circle() -> None:
    """Also not where an import waits until it is needed, or is there for the type checker alone."""
    try:
        TopologicalSorter({name: imported(name) for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_holds_few_files_not_deep_down_and_says_what_for(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 20
    assert len(folder.relative_to(ROOT).parts) <= 4, "two levels below a package"
    room = folder / "__init__.py"
    assert room.is_file()
    assert ast.get_docstring(ast.parse(room.read_text(encoding="utf-8")))
