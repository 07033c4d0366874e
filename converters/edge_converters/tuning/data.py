"""The examples of a tuning run: conversations from files, and which of them are held out."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DataError, StorageError, TuningError
from edge_converters.data.reader import check_turns, read_examples
from edge_converters.data.records import Example, Finding

if TYPE_CHECKING:
    from edge.engines.chat_template import ChatTemplate

_CHECK = "correct it, or let `edge data check` list everything that is wrong with the file"


def conversations(paths: Sequence[Path], template: ChatTemplate | None = None) -> list[Example]:
    """The examples of files in every format that `read_examples` reads, each with at least one reply at its end.

    A `text` column is split into turns by the markers of `template`, the base's. Raises TuningError with file and line
    for what cannot be learnt from.
    """
    try:
        found = read_examples(paths, template=template)
    except (DataError, StorageError) as error:
        raise TuningError(str(error)) from error
    _refuse(found.findings)
    return [_checked(example) for example in found]


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Those to learn from and those held out, at least one where `share` is not 0.

    Examples that begin with the same messages are kept together: else what is held out would have been learnt.
    """
    if share <= 0:
        return list(examples), []
    groups: dict[bytes, list[Example]] = {}
    for example in examples:
        groups.setdefault(_key(example), []).append(example)
    shuffled = [groups[key] for key in sorted(groups)]
    random.Random(seed).shuffle(shuffled)
    wanted = max(1, round(share * len(examples)))
    held_out: set[int] = set()
    for group in shuffled[:-1]:
        if len(held_out) >= wanted:
            break
        held_out.update(map(id, group))
    return (
        [example for example in examples if id(example) not in held_out],
        [example for example in examples if id(example) in held_out],
    )


def data_sha256(examples: Sequence[Example]) -> str:
    """SHA-256 of what the examples say, wherever they stand."""
    digest = hashlib.sha256()
    for example in examples:
        turns = [[message.role, message.content] for message in example.messages]
        digest.update(json.dumps(turns, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _key(example: Example) -> bytes:
    first = next(i for i, message in enumerate(example.messages) if message.role == "assistant")
    asked = json.dumps([message.content for message in example.messages[:first]])
    return hashlib.sha256(asked.encode("utf-8")).digest()


def _checked(example: Example) -> Example:
    """Without the questions at its end that nobody answered, which teach nothing."""
    if example.text is not None:
        raise TuningError(f"{example.place} is plain text without turns of this base's chat template; {_CHECK}")
    _refuse(check_turns(example))
    last = max(at for at, message in enumerate(example.messages) if message.role == "assistant")
    return replace(example, messages=example.messages[: last + 1])


def _refuse(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.severity == "error":
            raise TuningError(f"{finding.source}:{finding.line} {finding.message}; {_CHECK}")
