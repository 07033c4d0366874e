"""Jupyter notebooks (.ipynb): Markdown with its headings, code and what it printed, read from the JSON, nothing run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.errors import DocumentError
from edge_index.loaders.blocks import numbers
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.headings import sections
from edge_index.loaders.markup.markdown import find_headings
from edge_index.loaders.plain.text import decode

_LONGEST_OUTPUT = 10_000
_CUT = "\n…\n```"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def load(path: Path, data: bytes) -> Extracted:
    try:
        book = json.loads(decode(path, data))
        cells = book["cells"] if "cells" in book else [c for sheet in book["worksheets"] for c in sheet["cells"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DocumentError(
            f"{path} is a damaged notebook or none at all; open it in Jupyter and save it again"
        ) from error
    language = _language(book)
    parts: list[str] = []
    headings: list[tuple[int, int, str]] = []
    cut: list[int] = []
    at = 0
    for number, cell in enumerate(cells, 1):
        for text in _texts(cell, language) if isinstance(cell, dict) else ():
            at += 2 * bool(parts)
            if cell.get("cell_type") in ("markdown", "heading"):
                headings += [(at + position, level, title) for position, level, title in find_headings(text)]
            if text.endswith(_CUT):
                cut.append(number)
            parts.append(text)
            at += len(text)
    notes = (f"what the cells {numbers(cut)} print is cut at {_LONGEST_OUTPUT} characters",) if cut else ()
    return Extracted("\n\n".join(parts), sections(headings, at), notes=notes)


def _texts(cell: dict[str, Any], language: str) -> Iterator[str]:
    """The cell's source, code between fences, and behind it all its output as one."""
    source = _joined(cell.get("source", cell.get("input")))
    if not source.strip():
        return
    kind = cell.get("cell_type")
    if kind == "heading":
        yield "#" * int(cell.get("level", 1)) + " " + source
    elif kind != "code":
        yield source
    else:
        yield f"```{language}\n{source}\n```"
        outputs = cell.get("outputs")
        printed = "\n".join(filter(None, map(_output, outputs if isinstance(outputs, list) else ()))).strip()
        if len(printed) > _LONGEST_OUTPUT:
            yield f"```\n{printed[:_LONGEST_OUTPUT]}{_CUT}"
        elif printed:
            yield f"```\n{printed}\n```"


def _output(output: Any) -> str:
    """What is text of an output: what was printed, the value, the error."""
    if not isinstance(output, dict):
        return ""
    data = output.get("data")
    if output.get("output_type") in ("pyerr", "error"):
        text = _joined(output.get("traceback"), "\n")
    elif isinstance(data, dict):
        text = _joined(data.get("text/markdown") or data.get("text/plain"))
    else:
        text = _joined(output.get("text"))
    return _ESCAPES.sub("", text).rstrip()


def _joined(value: Any, between: str = "") -> str:
    """A text that is kept as one string or as a list of lines."""
    if isinstance(value, list):
        return between.join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _language(book: dict[str, Any]) -> str:
    metadata = book.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    language = kernel.get("language") if isinstance(kernel, dict) else None
    return language if isinstance(language, str) and re.fullmatch(r"[\w+#-]{1,20}", language) else ""
