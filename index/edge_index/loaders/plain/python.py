"""Python source code, verbatim; functions, classes and their methods are the sections."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from edge_index.loaders.extracted import Extracted
from edge_index.loaders.headings import named_sections
from edge_index.loaders.plain.text import Lines, decode


def load(path: Path, data: bytes) -> Extracted:
    text = decode(path, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the user's code, not ours
        try:
            names = list(_walk(ast.parse(text).body, Lines(text), ()))
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # ast says MemoryError of deep nesting
            names = []
    return Extracted(text, named_sections(names, text), by_line=True)


def _walk(body: list[ast.stmt], lines: Lines, outer: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """A definition begins where the statement before it ended, so that its comments are with it."""
    inside = False
    begin = 0  # the line behind the last statement
    for number, statement in enumerate(body):
        definition = isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            path = (*outer, statement.name)
            yield lines.start(begin if number else _first_line(statement)), path
            if isinstance(statement, ast.ClassDef):
                yield from _walk(statement.body, lines, path)
        elif inside:
            yield lines.start(begin), outer
        inside = definition
        begin = statement.end_lineno or begin


def _first_line(statement: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The line, from 0, of the definition or of its first decorator."""
    return min([statement.lineno, *(node.lineno for node in statement.decorator_list)]) - 1
