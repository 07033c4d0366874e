"""Source code and settings files, verbatim; for Python the definitions are the sections."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from edge_index.loaders import Extracted
from edge_index.loaders.headings import sections
from edge_index.loaders.text import Lines, decode


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    headings = _definitions(text) if path.suffix.lower() in (".py", ".pyi") else []
    return Extracted(text, sections(headings, len(text)), by_line=True)


def _definitions(text: str) -> list[tuple[int, int, str]]:
    """Functions, classes and their methods as (position, level, title); none where the code does not parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the user's code, not ours
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return []
    return list(_walk(tree.body, Lines(text), 1))


def _walk(body: list[ast.stmt], lines: Lines, level: int) -> Iterator[tuple[int, int, str]]:
    """A definition begins where the statement before it ended, so that its comments are with it."""
    inside = False
    begin = 0  # the line behind the last statement
    for number, statement in enumerate(body):
        title = _title(statement)
        if title:
            yield lines.start(begin if number else _first_line(statement)), level, title
            if isinstance(statement, ast.ClassDef):
                yield from _walk(statement.body, lines, level + 1)
        elif inside:
            yield lines.start(begin), level, ""
        inside = bool(title)
        begin = statement.end_lineno or begin


def _title(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.ClassDef):
        return f"class {statement.name}"
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"def {statement.name}"
    return None


def _first_line(statement: ast.stmt) -> int:
    """The line, from 0, of the definition or of its first decorator."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(node.lineno for node in decorators)]) - 1
