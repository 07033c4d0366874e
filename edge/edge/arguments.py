"""Checks of what a program hands us: a UsageError names the argument, its value and what is allowed."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from edge.errors import UsageError

_LONGEST = 80


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    shown = repr(value)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}…"
    raise UsageError(f"{name} is {shown}; give {allowed}") from None


def number(name: str, value: object, least: float, most: float = math.inf) -> float:
    """`value` as a float from `least` to `most`."""
    found = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (least <= found <= most) or math.isinf(found):
        refuse(name, value, f"a number{_between(least, most)}")
    return found


def whole(name: str, value: object, least: float = -math.inf) -> int:
    """`value` as an int of `least` or more."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        refuse(name, value, "a whole number" if math.isinf(least) else f"a whole number of {least} or more")
    return operator.index(value)


def text(name: str, value: object) -> str:
    if not isinstance(value, str):
        refuse(name, value, "a str")
    return value


def texts(name: str, value: object) -> tuple[str, ...]:
    """An iterable of str; a single str is none, though Python would go through its characters."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        refuse(name, value, "a list of str")
    found = tuple(value)
    for one in found:
        if not isinstance(one, str):
            refuse(f"one of {name}", one, "a str")
    return found


def text_or_texts(name: str, value: object) -> tuple[str, ...]:
    """As `texts`, and a single str is one of them."""
    return (value,) if isinstance(value, str) else texts(name, value)


def path(name: str, value: object) -> Path:
    if not isinstance(value, (str, PathLike)) or isinstance(value, bytes) or not str(value):
        refuse(name, value, "a path (str or Path)")
    return Path(value)


def paths(name: str, value: object) -> list[Path]:
    """Paths; a single str or Path is one of them."""
    if isinstance(value, (str, PathLike)):
        return [path(name, value)]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        refuse(name, value, "a path or a list of paths")
    return [path(f"one of {name}", one) for one in value]


def choice(name: str, value: object, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        refuse(name, value, " or ".join(map(repr, allowed)))


def _between(least: float, most: float) -> str:
    if most < math.inf:
        return f" from {least:g} to {most:g}"
    return "" if math.isinf(least) else f" of {least:g} or more"
