"""Are these examples fit to train on? What is wrong with them, by file and line, and what training will cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge import arguments
from edge_converters.data.near_duplicates import find_near_duplicates, normalize
from edge_converters.data.pii import find_pii, mask
from edge_converters.data.reader import PathOrPaths, check_turns, read_examples
from edge_converters.data.records import DataFile, Example, Examples, Finding, Severity

if TYPE_CHECKING:
    from edge_converters.data.base_model import BaseModelInfo, TokenCount
    from edge_converters.data.estimate import TuningEstimate

Progress = Callable[[str, int, int], None]

TOO_FEW, FEW = 10, 50
_EVERY = 500
_RANKS: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Check:
    """What `check_examples` found: errors first. `estimate` is there where a base was given and something to train
    on.
    """

    files: tuple[DataFile, ...]
    test_files: tuple[DataFile, ...]
    examples: int
    findings: tuple[Finding, ...]
    estimate: TuningEstimate | None

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)


def check_examples(
    paths: PathOrPaths,
    *,
    test: PathOrPaths = (),
    format: str | None = None,
    base: BaseModelInfo | None = None,
    context: int | None = None,
    epochs: float | None = None,
    batch: int | None = None,
    rank: int | None = None,
    progress: Progress | None = None,
) -> Check:
    """Read training files, and test files that must not be among them, and look for everything that makes tuning fail.

    Args:
        paths: One file or several.
        test: Files with examples for the test.
        format: What the files are; None: what their records are.
        base: The model to tune: tokens are then counted, its template is tried on each example, and the cost is
            estimated.
        context: Tokens of the longest example; None: what the base was trained for.
        epochs: How often every example is to be seen.
        batch: Examples a step.
        rank: Rank of the LoRA.
        progress: Called as (stage, done, total).

    Returns:
        Findings by file and line, and counts.

    Raises:
        StorageError: As `read_examples` does, like the others.
        DataError: For a file that holds no training data.
        UsageError: For an unknown format.

    Examples:
        >>> found = edge_converters.check_examples(Path("answers.jsonl")).findings
        >>> [finding for finding in found if finding.severity == "error"]
        []
    """
    paths, test = arguments.paths("paths", paths), arguments.paths("test", test)
    template = base.template if base is not None else None
    show = progress or (lambda _stage, _done, _total: None)
    show("reading", 0, len(paths) + len(test))
    train = read_examples(paths, format=format, template=template)
    test_examples = read_examples(test, format=format, template=template)
    show("reading", len(paths) + len(test), len(paths) + len(test))
    findings = [*train.findings, *test_examples.findings]
    everything = [*train, *test_examples]
    findings += _example_findings(everything, base, show)
    findings += _size_findings(train)
    estimate = None
    if base is not None:
        counts = _counts(everything, base, context or base.context, findings, show)
        findings += _template_findings(base, everything)
        estimate = _estimate(counts[: len(train)], base, context, epochs, batch, rank)
    show("comparing them", 0, 1)
    findings += _duplicate_findings(train, test_examples)
    show("comparing them", 1, 1)
    return Check(train.files, test_examples.files, len(train), tuple(_sorted(findings, [*paths, *test])), estimate)


def _example_findings(examples: Sequence[Example], base: BaseModelInfo | None, show: Progress) -> Iterator[Finding]:
    for number, example in enumerate(examples):
        if number % _EVERY == 0:
            show("looking at each example", number, len(examples))
        yield from check_turns(example)
        yield from _pii_findings(example)
        yield from _control_token_findings(example, base)


def _sorted(findings: Sequence[Finding], paths: Sequence[Path]) -> list[Finding]:
    places = {str(path): number for number, path in enumerate(paths)}
    return sorted(
        findings, key=lambda one: (_RANKS[one.severity], places.get(one.source or "", -1), one.line or 0, one.kind)
    )


def dialogue_text(example: Example) -> str:
    """What an example is about: its turns without the system text, which others share."""
    if example.text is not None:
        return example.text
    return "\n".join(message.content for message in example.messages if message.role != "system")


def question(example: Example) -> str:
    """What tells whether two examples ask the same: the first thing that the user says, in normal form."""
    first = next((message.content for message in example.messages if message.role == "user"), None)
    return normalize(first if first is not None else dialogue_text(example))


def _count_of(count: int) -> str:
    return "1 example" if count == 1 else f"{count:,} examples"


def _size_findings(train: Examples) -> Iterator[Finding]:
    count = sum(not any(found.severity == "error" for found in check_turns(example)) for example in train)
    if not train.examples:
        yield Finding("error", "empty", None, None, "there is no example in these files; see what is said about them")
    elif count < TOO_FEW:
        message = f"{_count_of(count)} can be trained on, and fewer than {TOO_FEW} teach next to nothing; write more"
        yield Finding("warning", "few", None, None, message)
    elif count < FEW:
        message = f"{_count_of(count)} can be trained on; from {FEW} to 100 on a form or a vocabulary is usually learnt"
        yield Finding("note", "few", None, None, message)
    plain = sum(example.text is not None for example in train)
    if plain:
        message = (
            f"plain text without turns in {_count_of(plain)}: all of it is learnt, questions included; "
            "--base MODEL splits texts that were written with that model's own chat template"
        )
        yield Finding("note", "plain-text", None, None, message)


def _pii_findings(example: Example) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    text = example.text if example.text is not None else "\n".join(m.content for m in example.messages)
    for kind, string in find_pii(text):
        found.setdefault(kind, []).append(string)
    for kind, strings in found.items():
        more = f" and {len(strings) - 1} more" if len(strings) > 1 else ""
        message = (
            f"holds what looks like {_article(kind)} {kind}: {mask(strings[0])}{more}; a tuned model may recite it"
        )
        yield Finding("warning", "private", example.source, example.line, message)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _control_token_findings(example: Example, base: BaseModelInfo | None) -> Iterator[Finding]:
    from edge.rag.sanitize import harmless, plain

    spelled: list[str] = []
    for text in (turn.content for turn in example.messages):
        if base is not None:
            spelled += base.control_tokens_in(text)
        elif ("<" in text or "[" in text) and harmless(text) != plain(text):
            marks = re.findall(r"<[|｜][^<>\n]{1,40}[|｜]>|</?\w+>|\[/?[A-Z_]+\]", text)
            spelled += marks[:1] or ["a mark of a template"]
    if spelled:
        message = (
            f"spells {', '.join(dict.fromkeys(spelled))}, by which chat templates end turns; take it out, or give the "
            "text as `text` if it is a whole conversation"
        )
        yield Finding("warning", "template", example.source, example.line, message)


def _counts(
    examples: Sequence[Example], base: BaseModelInfo, context: int | None, findings: list[Finding], show: Progress
) -> list[TokenCount | None]:
    """Tokens of each example; None where it cannot be rendered, which becomes a finding."""
    from edge.errors import ModelError

    counts: list[TokenCount | None] = []
    for number, example in enumerate(examples):
        if number % _EVERY == 0:
            show("counting tokens", number, len(examples))
        count = None
        try:
            count = base.count(example)
        except ModelError as error:
            if not any(found.severity == "error" for found in check_turns(example)):  # else it is told already
                findings.append(Finding("error", "template", example.source, example.line, f"does not fit: {error}"))
        if count is not None and context and count.all > context:
            message = (
                f"has {count.all:,} tokens and the context is {context:,}: its end would be cut off; shorten it, or "
                "train with a longer --context"
            )
            findings.append(Finding("error", "too-long", example.source, example.line, message))
        counts.append(count)
    return counts


def _template_findings(base: BaseModelInfo, examples: Sequence[Example]) -> Iterator[Finding]:
    if not base.own_template:
        message = "has no chat template of its own; edge trains and answers with ChatML, other programs may not"
        yield Finding("warning", "template", str(base.path), None, message)
    systems = sum(any(message.role == "system" for message in example.messages) for example in examples)
    if systems and not base.keeps_system:
        message = (
            f"its template has no system role: the system text of {_count_of(systems)} goes in front of the first "
            "question, as edge does it when it answers"
        )
        yield Finding("note", "template", str(base.path), None, message)


def _estimate(
    counts: Sequence[TokenCount | None],
    base: BaseModelInfo,
    context: int | None,
    epochs: float | None,
    batch: int | None,
    rank: int | None,
) -> TuningEstimate | None:
    from edge_converters.data.estimate import BATCH, EPOCHS, RANK, estimate_tuning

    known = [count for count in counts if count is not None]
    if not known:
        return None
    return estimate_tuning(
        known,
        base.shapes,
        context=context or base.context,
        epochs=epochs or EPOCHS,
        batch=batch or BATCH,
        rank=rank or RANK,
    )


def _duplicate_findings(train: Examples, test_examples: Examples) -> Iterator[Finding]:
    """Duplicates within the training files, and what of the test files is in them."""
    by_content: dict[str, Example] = {}
    by_question: dict[str, Example] = {}
    distinct: list[Example] = []
    for example in train:
        key = "\0".join(f"{m.role}:{normalize(m.content)}" for m in example.messages) or normalize(example.text or "")
        if key in by_content:
            message = f"is the same as {by_content[key].place}; leave one out, or it counts twice"
            yield Finding("warning", "duplicate", example.source, example.line, message)
            continue
        by_content[key] = example
        distinct.append(example)
        same = by_question.setdefault(question(example), example)
        if same is not example and len(example.messages) == len(same.messages):
            message = f"asks the same as {same.place} and has another answer; fine if both are wanted"
            yield Finding("note", "same-question", example.source, example.line, message)
    first_test = len(distinct)
    for example in test_examples:
        key = "\0".join(f"{m.role}:{normalize(m.content)}" for m in example.messages) or normalize(example.text or "")
        first = by_content.get(key) or by_question.get(question(example))
        if first is None:
            distinct.append(example)
            continue
        what = "is trained on" if key in by_content else "asks what is trained on"
        message = (
            f"{what} ({first.place}), so that a test with it shows memory and not skill; `edge data split` avoids it"
        )
        yield Finding("error", "leak", example.source, example.line, message)
    yield from _near_duplicate_findings(distinct, first_test)


def _near_duplicate_findings(examples: Sequence[Example], first_test: int) -> Iterator[Finding]:
    """From `first_test` on they are for the test."""
    reported: set[int] = set()
    for pair in find_near_duplicates([dialogue_text(example) for example in examples]):
        first, second = examples[pair.first], examples[pair.second]
        if pair.second in reported or pair.first >= first_test:
            continue
        reported.add(pair.second)
        resemblance = f"nearly the same as {first.place} ({pair.similarity:.0%} alike)"
        if pair.second >= first_test:
            message = f"is {resemblance}, which is trained on; `edge data split` keeps such pairs on one side"
            yield Finding("warning", "near-leak", second.source, second.line, message)
        elif question(first) != question(second):
            message = f"is {resemblance}; leave one out unless the difference is what is to be learnt"
            yield Finding("warning", "near-duplicate", second.source, second.line, message)
