"""What conversions take and give: adapters with their weights, what an export is, and what its proof found."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge import arguments

Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total), in bytes wherever bytes are what passes."""


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """A PEFT directory and the factor on its effect."""

    path: Path
    weight: float = 1.0


def adapter_sources(adapters: Adapters) -> list[AdapterSource]:
    """Adapters as records; a path stands for itself at full weight. Raises UsageError."""
    if isinstance(adapters, AdapterSource | str | os.PathLike):
        adapters = [adapters]
    if not isinstance(adapters, Sequence):
        arguments.refuse("adapters", adapters, "the folders of LoRAs, as paths or AdapterSources")
    return [a if isinstance(a, AdapterSource) else AdapterSource(arguments.path("an adapter", a)) for a in adapters]


Adapters = AdapterSource | str | os.PathLike[str] | Sequence[AdapterSource | str | os.PathLike[str]]
"""One adapter or several, each a PEFT folder by its path or with a weight."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the proof. `passed` None: it could not be asked, and `meaning` says why.

    `value` and `limit` are in the unit that `meaning` names; `meaning` is a sentence for people.
    """

    name: str
    passed: bool | None
    value: float | None
    limit: float | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A file or folder that took part, with the SHA-256 of the file, or of every weight and settings file."""

    path: str
    sha256: str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Parity:
    """What the proof found. `passed` is true when no check failed.

    `figures` holds the plain measurements by name: mean KL divergence in nats and so on, see the README.
    """

    passed: bool
    kind: str
    precision: str
    checks: tuple[Check, ...]
    figures: Mapping[str, float]
    export: Identity
    base: Identity
    adapters: tuple[Identity, ...] = ()
    notes: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.passed is False]

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """Rows for people: check, verdict, value, limit, meaning."""
        verdicts = {True: "passed", False: "FAILED", None: "not asked"}
        return [
            (check.name, verdicts[check.passed], _short(check.value), _short(check.limit), check.meaning)
            for check in self.checks
        ]


@dataclass(frozen=True, slots=True)
class Export:
    """What a conversion made. `path` is a file or folder of `bytes`; `sha256` is of the file, or of the folder's
    list of files and their SHA-256; `manifest` is the path of NAME.manifest.json beside it. `parity` is the
    proof that it behaves as its original, None where none was made.
    """

    path: str
    kind: str
    bytes: int
    sha256: str
    seconds: float
    manifest: str
    parity: Parity | None = None


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
