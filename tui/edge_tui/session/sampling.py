"""`key=value` words that change how the next token is chosen, and what is set, for people. No Textual here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

from edge.errors import UsageError
from edge.system.suggestions import did_you_mean
from edge.types import Sampling

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Key:
    """A field of `Sampling` that can be set, the least and the largest value it may have, and what it does."""

    name: str
    kind: type[int] | type[float]
    least: float
    most: float
    what: str

    @property
    def allowed(self) -> str:
        kind = "a whole number" if self.kind is int else "a number"
        span = f"from {self.least:g} to {self.most:g}" if isfinite(self.most) else f"of {self.least:g} or more"
        return f"{kind} {span}" + (", or none" if self.name == "seed" else "")


KEYS = (
    Key("temperature", float, 0, 5, "0: always the likeliest token; higher: freer"),
    Key("top_p", float, 0, 1, "only the likeliest, up to this share; 1 is off"),
    Key("top_k", int, 0, inf, "only so many of the likeliest; 0 is off"),
    Key("min_p", float, 0, 1, "only from this share of the best one's odds; 0 is off"),
    Key("repeat_penalty", float, 1, 2, "against saying the same again; 1 is off"),
    Key("seed", int, 0, 2**32 - 1, "the same seed, the same answer; none: a fresh one"),
    Key("max_tokens", int, 1, inf, "the longest answer"),
)
_NAMES = {key.name: key for key in KEYS}


def changed(now: Sampling, line: str, default: Sampling) -> Sampling:
    """`now` with the changes of a line like "temperature=0.7 top_p=0.9"; "default" alone leads back to `default`.

    Raises UsageError, which says what is allowed, and then nothing is changed.
    """
    words = line.replace(",", " ").split()
    if words == [DEFAULT]:
        return default
    return replace(now, **dict(_change(word) for word in words))


def _change(word: str) -> tuple[str, Any]:
    name, is_, text = word.partition("=")
    key = _NAMES.get(name.strip().lower().replace("-", "_"))
    if key is None:
        meant, known = did_you_mean(name, _NAMES), ", ".join(_NAMES)
        raise UsageError(f"there is no {shlex.quote(name)} to set{meant}; write key=value with one of: {known}")
    if key.name == "seed" and text.lower() in ("none", "off"):
        return key.name, None
    try:
        value = key.kind(text) if is_ else None
    except ValueError:
        value = None
    if value is None or not key.least <= value <= key.most:
        raise UsageError(f"{key.name} must be {key.allowed}, as in {key.name}={_example(key)}; {_meant(word, is_)}")
    return key.name, value


def _example(key: Key) -> str:
    return f"{getattr(Sampling(), key.name) or (7 if key.name == 'seed' else 0.7)}"


def _meant(word: str, is_: str) -> str:
    return f"{word} is not" if is_ else f"{word} has no value"


def rows(sampling: Sampling) -> list[tuple[str, str]]:
    """What is set: (key=value, what it does)."""
    out = []
    for key in KEYS:
        value = getattr(sampling, key.name)
        out.append(
            (f"{key.name}={'none' if value is None else f'{value:g}' if key.kind is float else value}", key.what)
        )
    return out


def completed(begun: str) -> Sequence[str]:
    """The whole line with its last word completed to a key."""
    before, blank, last = begun.rpartition(" ")
    if "=" in last:
        return []
    words = [f"{key.name}=" for key in KEYS] + ([] if before else [DEFAULT])
    return [f"{before}{blank}{word}" for word in words if word.startswith(last)]
