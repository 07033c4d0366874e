"""Training examples from files in the formats that people have them in, each with its file and line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from edge import arguments
from edge.errors import DataError, UsageError
from edge_converters.data.files import Record, read_records
from edge_converters.data.formats import FORMATS, RecordRejected, detect, parse
from edge_converters.data.records import DataFile, Example, Examples, Finding

if TYPE_CHECKING:
    from edge.engines.chat_template import ChatTemplate
    from edge_converters.data.markers import Markers

__all__ = ["DataFile", "Example", "Examples", "Finding", "check_turns", "iter_examples", "read_examples"]


PathOrPaths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""One file or several."""


def read_examples(paths: PathOrPaths, *, format: str | None = None, template: ChatTemplate | None = None) -> Examples:
    """Everything in some files of training examples, in their order.

    Records that cannot be read are among the findings, each with its line; the others are there all the same.

    Args:
        paths: One file or several.
        format: What the files are; None: what the first readable record of each is.
        template: Splits texts of a `text` column into turns by the markers of a chat template.

    Returns:
        Examples, with the findings beside them.

    Raises:
        StorageError: For a file that is not there.
        DataError: For one that holds no training data at all.
        UsageError: For an unknown format.

    Examples:
        >>> found = edge_converters.read_examples(Path("answers.jsonl"))
        >>> next(iter(found)).messages[0].role
        'user'
    """
    examples: list[Example] = []
    files: list[DataFile] = []
    findings: list[Finding] = []
    for path in map(str, arguments.paths("paths", paths)):
        before = len(examples)
        for found in iter_examples(path, format=format, template=template):
            if isinstance(found, Example):
                examples.append(found)
            elif isinstance(found, Finding):
                findings.append(found)
            else:
                files.append(DataFile(path, found, format is not None, 0))
        if files and files[-1].path == path:
            files[-1] = DataFile(path, files[-1].format, format is not None, len(examples) - before)
    return Examples(tuple(examples), tuple(files), tuple(findings))


def iter_examples(
    path: str | os.PathLike[str], *, format: str | None = None, template: ChatTemplate | None = None
) -> Iterator[str | Example | Finding]:
    """One file as it is read: the name of its format as soon as that is known, then examples and findings.

    Nothing is kept, so that a file may be larger than the memory. Raises as `read_examples` does.
    """
    from edge_converters.data.markers import Markers

    if format is not None and format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    source, format_name = os.fspath(path), format
    markers = Markers(template) if template is not None else None
    unknown: Finding | None = None
    if format_name is not None:
        yield format_name
    for found in read_records(Path(source)):
        if isinstance(found, Finding):
            yield found
            continue
        if format_name is None:
            format_name = detect(found.value)
            if format_name is None:
                finding = _unknown_format(source, found)
                unknown = unknown or finding
                yield finding
                continue
            yield format_name
        yield from _examples(source, found, format_name, markers)
    if format_name is None and unknown is not None:
        raise DataError(f"{unknown.source}:{unknown.line} {unknown.message}")


def _examples(source: str, record: Record, format_name: str, markers: Markers | None) -> Iterator[Example | Finding]:
    try:
        parsed = parse(record.value, format_name)
    except RecordRejected as reason:
        yield Finding("error", "unreadable", source, record.line, str(reason))
        return
    messages, text = parsed.messages, parsed.text
    if text is not None and markers is not None:
        split = markers.split(text)
        messages, text = (split, None) if split else ((), text)
    if parsed.unweighted:
        message = 'has turns with "weight": 0, which are learnt all the same; leave them out if they must not be'
        yield Finding("warning", "weight", source, record.line, message)
    yield Example(messages, source, record.line, text)


def _unknown_format(source: str, record: Record) -> Finding:
    value = record.value
    keys = ", ".join(f"`{str(key)[:40]}`" for key in list(value)[:6]) if isinstance(value, dict) else "no object"
    message = (
        f"is in no format that is known here: it has {keys}; wanted are messages, prompt and completion, "
        "conversations, instruction and output, question and answer, or text; rename them, or force one with --format"
    )
    return Finding("error", "unreadable", source, record.line, message)


def check_turns(example: Example) -> Iterator[Finding]:
    """What is wrong with the turns of an example; one without errors can be trained on."""

    def found(kind: str, message: str) -> Finding:
        return Finding("error", kind, example.source, example.line, message)

    if example.text is not None:
        if not example.text.strip():
            yield found("empty", "is empty; leave it out")
        return
    turns = example.messages
    for number, turn in enumerate(turns, 1):
        if not turn.content.strip():
            yield found("empty", f"has nothing in turn {number} ({turn.role}); fill it or leave the example out")
    if not any(message.role == "assistant" for message in turns):
        yield found("no-assistant", "has no assistant's turn, so that there is nothing to learn; add the answer")
        return
    wrong = _turn_order_problem([message.role for message in turns])
    if wrong:
        yield found("order", wrong)
    elif turns[-1].role != "assistant":
        said = "ends with the user's turn, which nothing is learnt from; add the answer or leave the question out"
        yield Finding("warning", "order", example.source, example.line, said)


def _turn_order_problem(roles: Sequence[str]) -> str | None:
    """What is wrong with the order of the turns, of which one at least is the assistant's."""
    if "system" in roles[1:]:
        return "has a system turn behind the first place; put it first"
    begin = 1 if roles[0] == "system" else 0
    if roles[begin] != "user":
        return "begins with the assistant; a user's turn comes first"
    for number, (one, other) in enumerate(pairwise(roles[begin:]), begin + 2):
        if one == other:
            return f"has two turns of the {one} in a row (turn {number}); join them or add what is lost between"
    return None
