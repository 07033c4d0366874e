"""What training examples are once they are read, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edge.types import Message

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn from. `source` is the file's path as it was given, `line` where it begins, from 1.

    `text` is set instead of `messages` for plain text without turns: everything in it is learnt.
    """

    messages: tuple[Message, ...]
    source: str
    line: int
    text: str | None = None

    @property
    def place(self) -> str:
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about the examples. `line` is None for what concerns the whole file, `source` for all files.

    An error is an example that cannot be learnt from as it is, or that makes a test worthless; a warning is likely to
    do harm; a note is for information. `kind` is a short name that stays the same from version to version.
    """

    severity: Severity
    kind: str
    source: str | None
    line: int | None
    message: str


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was read: its format, whether that was forced, and how many examples it gave."""

    path: str
    format: str
    forced: bool
    examples: int


@dataclass(frozen=True, slots=True)
class Examples:
    """What was read from some files, in their order, and what could not be read."""

    examples: tuple[Example, ...]
    files: tuple[DataFile, ...]
    findings: tuple[Finding, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)
