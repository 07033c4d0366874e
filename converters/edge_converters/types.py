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
    """A PEFT folder and the factor on its effect.

    Attributes:
        path: The folder.
        weight: 1 is as it was trained.
    """

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
    """What the proof found.

    Attributes:
        passed: True when no check failed.
        kind: What the export is.
        precision: The type of its weights.
        checks: Each with its value, its limit and what it means.
        figures: The plain measurements by name: mean KL divergence in nats and so on.
        export: The export and its hash.
        base: The base and its hash.
        adapters: The adapters and their hashes.
        notes: What else there is to know.
        seconds: What it took.
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
        """The checks that failed.

        Returns:
            Checks, in the order of the proof.
        """
        return [check for check in self.checks if check.passed is False]

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """The checks for people.

        Returns:
            Rows of check, verdict, value, limit and meaning.
        """
        verdicts = {True: "passed", False: "FAILED", None: "not asked"}
        return [
            (check.name, verdicts[check.passed], _short(check.value), _short(check.limit), check.meaning)
            for check in self.checks
        ]


@dataclass(frozen=True, slots=True)
class Export:
    """What a conversion made.

    Attributes:
        path: A file or folder.
        kind: What it is: "gguf", "onnx", "merged" …
        bytes: Its size.
        sha256: Of the file, or of the folder's list of files and their SHA-256.
        seconds: What it took.
        manifest: The path of NAME.manifest.json beside it: what was made from what.
        parity: The proof that it behaves as its original; None where none was made.
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
