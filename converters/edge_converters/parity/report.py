"""The verdict of a proof: checks, figures, what was compared, and the file beside the export that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_converters.output import beside, write_json


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


def parity_path(export: Path) -> Path:
    """Where the proof of an export stands: out.gguf -> out.parity.json, a folder out -> out.parity.json."""
    return beside(export, "parity")


def write_report(parity: Parity, export: Path) -> Path:
    """Write NAME.parity.json beside the export, whole or not at all. Raises StorageError."""
    path = parity_path(export)
    write_json(path, asdict(parity))
    return path


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
