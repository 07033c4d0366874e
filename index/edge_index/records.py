"""What an index says of its documents and of what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """A file in an index, or a text that was given without one.

    Attributes:
        path: The path under which it was added, or the text's name.
        sha256: Hash of the bytes that were read.
        bytes: Their number.
        characters: Length of the extracted text.
        passages: Pieces into which it was cut.
        pages: None where the format has none.
        metadata: What was given with it.
        has_file: False for a text without a file.
    """

    path: str
    sha256: str
    bytes: int
    characters: int
    passages: int
    pages: int | None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    has_file: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read.

    Attributes:
        path: The file.
        reason: Why, in a sentence for people.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `Index.add` did, by path.

    Attributes:
        added: New documents.
        updated: Those that changed.
        unchanged: Those that did not.
        removed: Those that left.
        failed: Those that could not be read, and why.
        skipped: Files of a folder whose format is not read.
        passages: Of the documents that were written in this run.
        embedded: Of these passages, those that were encoded.
        reused: Those whose vectors were known.
        moved: New names of files that were known under another one.
        left: Links, pipes and their like that were left alone, with the reason.
        ignored: How many files a pattern or a .gitignore left out.
        notes: What of a file is not in its text.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()
    passages: int = 0
    embedded: int = 0
    reused: int = 0
    moved: tuple[str, ...] = ()
    left: tuple[Failure, ...] = ()
    ignored: int = 0
    notes: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Outdated:
    """What of an index was made by other rules, or with another encoder, than would be used today.

    Attributes:
        reason: In a sentence for people.
        documents: How many.
        passages: How many are to be cut from them.
        done: Documents that are ready from an earlier try.
        seconds: About how long it takes to do it again.
        searchable: False where the index's own encoder is needed to search until then.
    """

    reason: str
    documents: int
    passages: int
    done: int
    seconds: float
    searchable: bool


@dataclass(frozen=True, slots=True)
class AddProgress:
    """Where `Index.add` is.

    Attributes:
        done: Files that are done.
        total: Files in all.
        path: The one in hand; None at the very end.
        passages: Passages that are written.
    """

    done: int
    total: int
    path: str | None
    passages: int
