"""Answers are kept as they come, a line each, so that a run that was killed goes on where it was.

A line is found again by a hash of everything that its answer depends on; what has changed is answered afresh.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.errors import StorageError
from edge.evaluation.records import Question, Row, Skill, row_from, skill_from
from edge.evaluation.skills import REPLY_TOKENS
from edge.evaluation.variants import Setup, oracle_passages
from edge.rag.prompts import SYSTEM, SYSTEM_WITH_PASSAGES
from edge.system.paths import ensure_dir
from edge.types import Retriever

_FORMAT = 1


class Kept:
    """The answers in a file, by key; `add` appends. Without a file it keeps them in memory only."""

    def __init__(self, file: Path | None) -> None:
        self._path = file
        self._known: dict[str, dict[str, Any]] = {}
        self._file = None
        if file is None:
            return
        ensure_dir(file.parent)
        try:
            # Without a buffer a line is one write at the end of the file: two comparisons may keep theirs in one file.
            self._file = file.open("a+b", buffering=0)
            self._file.seek(0)
            lines = self._file.read().split(b"\n")
        except OSError as error:
            raise StorageError(f"{file} cannot be opened: {error.strerror}; give another file to --keep") from error
        for line in lines:
            # The last line of a run that was killed may be torn; its question is asked again.
            with suppress(ValueError, TypeError, KeyError):
                found = json.loads(line)
                self._known[found["key"]] = found["kept"]
        if lines[-1]:
            self._file.write(b"\n")

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def row(self, key: str, number: int) -> Row | None:
        """The answer of a question that now has this number; None where it must be asked."""
        with suppress(ValueError, TypeError, KeyError):
            return row_from({**self._known[key], "question": number})
        return None

    def skill(self, key: str) -> Skill | None:
        with suppress(TypeError, KeyError):
            return skill_from(self._known[key])
        return None

    def add(self, key: str, found: Row | Skill) -> None:
        """Written through to the operating system at once: a kill loses nothing of it."""
        self._known[key] = asdict(found)
        if self._file is None:
            return
        line = json.dumps({"key": key, "kept": self._known[key]}, ensure_ascii=False) + "\n"
        data = line.encode("utf-8", "surrogatepass")
        try:
            if self._file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror}; free some space and run it again, it goes on"
            ) from error


class Keys:
    """Makes the keys of one comparison. The words in what is hashed stay as they were: answers are kept under it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        s = setup.sampling
        common = {
            "format": _FORMAT,
            "model": _weights(setup.model.path, setup.model.name),
            "context": setup.model.context,
            "sampling": asdict(s),
            "think": setup.think,
            "system": setup.system,
            "words": [SYSTEM, SYSTEM_WITH_PASSAGES],
        }
        tuned = _adapter(setup)
        asking = {
            "k": setup.rag.k,
            "read": setup.rag.prompt_passages or setup.rag.extra_read_seconds,
            "certainty": setup.rag.min_answerable,
        }
        found = None if setup.knowledge is None else [fingerprint_of(setup.knowledge), asking]
        shown = setup.examples
        shots = [setup.shots, _encoder(shown.encoder), [asdict(example) for example in shown.known]]
        own: dict[str, Any] = {
            "base": None,
            "few-shot": shots,
            "rag": found,
            "tuned": tuned,
            "rag+tuned": [found, tuned],
            "oracle": asking,
        }
        self._common = {variant: _digest({**common, "way": variant, "own": rest}) for variant, rest in own.items()}

    def row(self, variant: str, question: Question) -> str:
        given = oracle_passages(self._setup.knowledge, question) if variant == "oracle" else None
        kept = None if given is None else [asdict(passage) for passage in given]
        return _digest([self._common[variant], asdict(question), kept])

    def skill(self, variant: str, question: str) -> str:
        return _digest([self._common[variant], "skill", REPLY_TOKENS, question])


def fingerprint_of(knowledge: Retriever) -> str:
    """What tells this knowledge from other, or older: its documents with their hashes, and its encoder.

    Knowledge without `documents` is told by its type alone.
    """
    documents = getattr(knowledge, "documents", None)
    rows = [(d.path, d.sha256, d.passages) for d in documents()] if callable(documents) else []
    encoder = _encoder(getattr(knowledge, "encoder", None))
    return _digest([type(knowledge).__name__, encoder, sorted(rows)])


def _encoder(encoder: object) -> str | None:
    return None if encoder is None else str(getattr(encoder, "fingerprint", None) or type(encoder).__name__)


def _adapter(setup: Setup) -> Any:
    found = [a for a in setup.model.adapters if a.name == setup.adapter]
    return [[_weights(Path(adapter.path), adapter.name), adapter.scale] for adapter in found]


def _weights(path: Path | None, name: str) -> Any:
    """Sizes and times of the files: hashing gigabytes would take longer than some comparisons."""
    if path is None or not path.exists():
        return name
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [[file.name, (state := file.stat()).st_size, state.st_mtime_ns] for file in files]


def _digest(value: Mapping[str, Any] | list[Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
