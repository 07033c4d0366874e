"""Asks a retriever, which may be anybody's: an error names it, whether it raised or gave something else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import iscoroutine
from numbers import Real
from typing import Any, TypeVar

from edge import arguments
from edge.errors import EdgeError, KnowledgeError
from edge.types import Evidence, Passage, Retriever

T = TypeVar("T")


def check_retriever(knowledge: object) -> None:
    """Raise UsageError for what cannot be searched."""
    if knowledge is not None and not callable(getattr(knowledge, "search", None)):
        arguments.refuse("knowledge", knowledge, "an edge_index.Index, or an object with search(query, k)")


def search(knowledge: Retriever, query: str, k: int) -> list[Passage]:
    """What `knowledge.search` finds; any iterable of Passages will do. Raises KnowledgeError."""
    with _named(knowledge, "search"):
        return _all_of(Passage, knowledge.search(query, k))


def evidence(knowledge: Any, query: str, passages: Sequence[Passage]) -> tuple[Evidence, ...]:
    """What `knowledge.evidence` finds. Raises KnowledgeError."""
    with _named(knowledge, "evidence"):
        return tuple(_all_of(Evidence, knowledge.evidence(query, passages)))


def answerable(knowledge: Any, query: str, passages: Sequence[Passage]) -> float:
    """The probability that `knowledge.answerable` gives. Raises KnowledgeError."""
    with _named(knowledge, "answerable"):
        found = knowledge.answerable(query, passages)
        if not isinstance(found, Real) or math.isnan(float(found)):
            raise _Wrong(f"gave {_shown(found)}, not a number from 0 to 1")
        return float(found)


class _Wrong(Exception):
    """What a retriever gave is not what was asked for."""


@contextmanager
def _named(knowledge: object, method: str) -> Iterator[None]:
    what = f"the retriever {type(knowledge).__name__}"
    try:
        yield
    except EdgeError:
        raise
    except _Wrong as wrong:
        raise KnowledgeError(f"{what} {wrong} (its {method}())") from None
    except Exception as error:
        raise KnowledgeError(f"{what} failed in {method}(): {type(error).__name__}: {error}") from error


def _all_of(kind: type[T], found: object) -> list[T]:
    if iscoroutine(found):
        found.close()
        raise _Wrong(f"is async; give one whose methods are plain functions that return edge.{kind.__name__} objects")
    if isinstance(found, (str, bytes)) or not isinstance(found, Iterable):
        raise _Wrong(f"gave {_shown(found)}, not a list of edge.{kind.__name__}")
    listed = list(found)
    for one in listed:
        if not isinstance(one, kind):
            raise _Wrong(f"gave {_shown(one)} where an edge.{kind.__name__} is needed")
    return listed


def _shown(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
