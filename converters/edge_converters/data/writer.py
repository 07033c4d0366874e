"""Training examples into files: one format out of many, and a part that is kept for the test."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edge import arguments
from edge.errors import DataError, StorageError, UsageError
from edge.types import Message
from edge_converters.data.check import dialogue_text, question
from edge_converters.data.near_duplicates import find_near_duplicates, normalize
from edge_converters.data.reader import PathOrPaths, check_turns, iter_examples, read_examples
from edge_converters.data.records import DataFile, Example, Finding
from edge_converters.output import atomic_output

if TYPE_CHECKING:
    from edge.engines.chat_template import ChatTemplate

TARGETS = ("chat", "prompt-completion", "alpaca")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Converted:
    """What `convert_examples` wrote; `left_out` says why some records are not in it."""

    path: str
    format: str
    files: tuple[DataFile, ...]
    examples: int
    left_out: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """What `split_examples` wrote. `groups` are sets of examples that may not be parted, `largest` the size of one."""

    train_path: str
    test_path: str
    train: int
    test: int
    groups: int
    largest: int
    left_out: tuple[Finding, ...]


def convert_examples(
    paths: PathOrPaths,
    out: Path,
    *,
    to: str = "chat",
    format: str | None = None,
    template: ChatTemplate | None = None,
    skip_broken: bool = False,
    force: bool = False,
) -> Converted:
    """Write everything that some files hold as JSON lines of one format, one example after the other.

    Args:
        paths: One file or several.
        out: The file to write.
        to: The format to write.
        format: What the files are; None: what their records are.
        template: As in `read_examples`.
        skip_broken: Leave out what cannot be read or has no place in that format.
        force: Replace `out`.

    Returns:
        What was written and what was left out.

    Raises:
        DataError: For a record that cannot be read or has no place in that format; then nothing is written.
        StorageError: Where `out` is there already.

    Examples:
        >>> edge_converters.convert_examples(Path("answers.jsonl"), Path("chat.jsonl")).format
        'chat'
    """
    if to not in TARGETS:
        raise UsageError(f"there is no format {to!r} to write; choose one of {', '.join(TARGETS)}")
    _check_free(out, force)
    files: list[DataFile] = []
    left: list[Finding] = []
    count = 0
    with atomic_output(out) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for path in map(str, arguments.paths("paths", paths)):
            before, form = count, ""
            for found in iter_examples(path, format=format, template=template):
                if isinstance(found, str):
                    form = found
                elif isinstance(found, Finding):
                    left += [found] if found.severity == "error" else []
                else:
                    wrong = _write(file, found, to)
                    count += wrong is None
                    left += [wrong] if wrong is not None else []
            files.append(DataFile(path, form, format is not None, count - before))
        _refuse(left, skip_broken)
        if not count:
            raise DataError("there is no example in these files; `edge data check` says what is wrong with them")
    return Converted(str(out), to, tuple(files), count, tuple(left))


def split_examples(
    paths: PathOrPaths,
    out: Path,
    *,
    test: float = 0.1,
    seed: int = 7,
    format: str | None = None,
    template: ChatTemplate | None = None,
    skip_broken: bool = False,
    force: bool = False,
) -> Split:
    """Write train.jsonl and test.jsonl: chat lines, `text` lines where there are no turns.

    Examples with the same question, and nearly the same ones, stay on one side. Which side depends on what they say and
    on `seed`, not on the order of the files.

    Args:
        paths: One file or several.
        out: The folder to write into.
        test: How much is for the test, 0 to 1.
        seed: Another number, other examples in the test.
        format: What the files are; None: what their records are.
        template: As in `read_examples`.
        skip_broken: Leave out what cannot be read.
        force: Replace files that are there.

    Returns:
        What was written where.

    Raises:
        DataError: As `convert_examples` does, and where there is nothing to part.
        StorageError: Where a file is there already.

    Examples:
        >>> _ = edge_converters.split_examples(Path("answers.jsonl"), Path("data"), test=0.25)
        >>> sorted(file.name for file in Path("data").iterdir())
        ['test.jsonl', 'train.jsonl']
    """
    if not 0 < test < 1:
        raise UsageError(f"{test:g} is no share of the examples for the test; give one between 0 and 1, such as 0.1")
    targets = (out / "train.jsonl", out / "test.jsonl")
    for target in targets:
        _check_free(target, force)
    found = read_examples(paths, format=format, template=template)
    left = [finding for finding in found.findings if finding.severity == "error"]
    usable = []
    for example in found:
        wrong = [finding for finding in check_turns(example) if finding.severity == "error"]
        left += wrong
        usable += [] if wrong else [example]
    _refuse(left, skip_broken)
    groups = _groups(usable)
    chosen = _chosen(usable, groups, test, seed)
    sides = ([e for i, e in enumerate(usable) if i not in chosen], [e for i, e in enumerate(usable) if i in chosen])
    with ExitStack() as stack:
        for target, side in zip(targets, sides, strict=True):
            _write_examples(stack.enter_context(atomic_output(target)), side)
    largest = max(map(len, groups))
    return Split(str(targets[0]), str(targets[1]), len(sides[0]), len(sides[1]), len(groups), largest, tuple(left))


def _write_examples(out: Path, examples: Iterable[Example]) -> None:
    with out.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            file.write(_line(_chat(example) if example.text is None else {"text": example.text}))


def write_chat(conversations: Iterable[Sequence[Message]], out: Path, *, force: bool = False) -> None:
    """Conversations as chat JSON lines. Raises StorageError where `out` is there already, unless `force`."""
    _check_free(out, force)
    with atomic_output(out) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for messages in conversations:
            file.write(_line({"messages": _listed(messages)}))


def _check_free(out: Path, force: bool) -> None:
    if out.is_dir():
        raise StorageError(f"{out} is a folder; give the name of a file")
    if out.exists() and not force:
        raise StorageError(f"{out} is there already; give another name, or --force to replace it")


def _refuse(left: Sequence[Finding], skip_broken: bool) -> None:
    if not left or skip_broken:
        return
    named = "; ".join(f"{finding.source}:{finding.line} {finding.message}" for finding in left[:_NAMED])
    more = f"; and {len(left) - _NAMED:,} more, which `edge data check` lists" if len(left) > _NAMED else ""
    raise DataError(f"nothing was written: {named}{more}. Mend them, or leave them out with --skip-broken")


def _write(file: TextIO, example: Example, to: str) -> Finding | None:
    """Why the example has no place in that format; None when it was written."""
    wrong = _misfit(example, to)
    if wrong is not None:
        return Finding("error", "no-place", example.source, example.line, wrong)
    file.write(_line(_FORMS[to](example)))
    return None


def _misfit(example: Example, to: str) -> str | None:
    if example.text is not None:
        return "is plain text without turns; --base MODEL splits it by that model's chat template"
    if to == "chat":
        return None
    turns = [message.role for message in example.messages if message.role != "system"]
    if turns[-1:] != ["assistant"]:
        return f"does not end with the assistant, for which {to} has no place"
    if to == "alpaca" and turns != ["user", "assistant"] * (len(turns) // 2):
        return "has turns in another order than question and answer, for which alpaca has no place"
    return None


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _chat(example: Example) -> dict[str, Any]:
    return {"messages": _listed(example.messages)}


def _listed(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _prompt_completion(example: Example) -> dict[str, Any]:
    """Two texts; lists of messages, as TRL reads them, where there is more than a question and an answer."""
    *before, last = example.messages
    if [message.role for message in before] == ["user"]:
        return {"prompt": before[0].content, "completion": last.content}
    return {"prompt": _listed(before), "completion": _listed([last])}


def _alpaca(example: Example) -> dict[str, Any]:
    system = "\n\n".join(message.content for message in example.messages if message.role == "system")
    turns = [message.content for message in example.messages if message.role != "system"]
    record: dict[str, Any] = {"instruction": turns[-2], "input": "", "output": turns[-1]}
    if system:
        record["system"] = system
    if len(turns) > 2:
        record["history"] = [turns[at : at + 2] for at in range(0, len(turns) - 2, 2)]
    return record


_FORMS: dict[str, Callable[[Example], dict[str, Any]]] = {
    "chat": _chat,
    "prompt-completion": _prompt_completion,
    "alpaca": _alpaca,
}


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """Numbers of examples that belong together: the same question, or nearly the same text."""
    leader = list(range(len(examples)))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    asked: dict[str, int] = {}
    for number, example in enumerate(examples):
        leader[number] = asked.setdefault(question(example), number)
    for pair in find_near_duplicates([dialogue_text(example) for example in examples]):
        one, other = sorted((find(pair.first), find(pair.second)))
        leader[other] = one
    groups: dict[int, list[int]] = defaultdict(list)
    for number in range(len(examples)):
        groups[find(number)].append(number)
    return list(groups.values())


def _chosen(examples: Sequence[Example], groups: Sequence[list[int]], share: float, seed: int) -> set[int]:
    """The numbers of those for the test: groups in an order that a hash of their texts gives, as many as fit."""
    if len(groups) < 2:
        raise DataError(
            f"these {len(examples)} examples cannot be parted into two files: they all ask nearly the same; give more"
        )
    wanted = max(1, round(share * len(examples)))
    chosen: set[int] = set()
    for group in sorted(groups, key=lambda group: min(_hashes(examples, group, seed))):
        if len(chosen) + len(group) <= wanted:
            chosen.update(group)
    if not chosen:
        chosen.update(sorted(groups, key=len)[0])
    return chosen


def _hashes(examples: Sequence[Example], group: Sequence[int], seed: int) -> Iterator[str]:
    for number in group:
        yield hashlib.sha256(f"{seed}\0{normalize(dialogue_text(examples[number]))}".encode()).hexdigest()
