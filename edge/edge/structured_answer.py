"""Answers that are JSON: what they hold as Python knows it, and the values in them that stand in a document."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge.errors import FormatError
from edge.rag.citations import cite
from edge.types import Citation, Claim, Passage

_TEXT = re.compile(r'("((?:[^"\\]|\\.)*)")(\s*:)?')
"""A text of JSON, and whether it is a key."""


def parsed(text: str, response_format: Any) -> Any:
    """The value of `text`: of a pydantic class or TypeAdapter its own objects, else what JSON is in Python.

    Raises FormatError where the class has rules that its schema does not say.
    """
    for validate in ("model_validate_json", "validate_json"):
        if hasattr(response_format, validate):
            try:
                return getattr(response_format, validate)(text)
            except ValueError as error:  # pydantic's own is one
                raise FormatError(f"the reply does not keep to response_format: {error}", text=text) from error
    return json.loads(text)


def cite_values(
    text: str, passages: Sequence[Passage], question: str
) -> tuple[tuple[Citation, ...], tuple[Claim, ...]]:
    """As `edge.rag.citations.cite`, for an answer in JSON: its claims are the texts in it, each for itself.

    Keys are the schema's words; numbers, true and false carry nothing that a sentence could be found by.
    """
    citations: list[Citation] = []
    unsupported: list[Claim] = []
    for value in _TEXT.finditer(text):
        words = "" if value[3] else json.loads(value[1])
        if not words.strip():
            continue
        claim = Claim(value[2], value.start(2), value.end(2))
        found, own = cite(words, passages, question)
        if own:
            unsupported.append(claim)
        else:
            citations += [replace(citation, claim=claim) for citation in found]
    return tuple(citations), tuple(unsupported)
