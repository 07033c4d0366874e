"""Are these examples fit to train on? What is wrong with them, by file and line, and what training will cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge import arguments
from edge_converters.data.examples import AnyPaths, read_examples, turn_findings
from edge_converters.data.near_duplicates import find_alike, normal
from edge_converters.data.pii import masked, private_strings
from edge_converters.data.records import DataFile, Example, Examples, Finding, Severity

if TYPE_CHECKING:
    from edge_converters.data.base import Base, Count
    from edge_converters.data.estimate import Cost

Progress = Callable[[str, int, int], None]

TOO_FEW, FEW = 10, 50
_EVERY = 500
_RANKS: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Check:
    """What `check_examples` found: errors first. `cost` is there where a base was given and something to train on."""

    files: tuple[DataFile, ...]
    test_files: tuple[DataFile, ...]
    examples: int
    findings: tuple[Finding, ...]
    cost: Cost | None

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)


def check_examples(
    paths: AnyPaths,
    *,
    test: AnyPaths = (),
    format: str | None = None,
    base: Base | None = None,
    context: int | None = None,
    epochs: float | None = None,
    batch: int | None = None,
    rank: int | None = None,
    progress: Progress | None = None,
) -> Check:
    """Read training files, and test files that must not be among them, and look for everything that makes tuning fail.

    With a `base` (examples_base.open_base) tokens are counted, examples that are longer than `context` (None: what the
    base was trained for) are named, its template is tried on each, and the cost is estimated. `progress` is called
    with (stage, done, total). Raises as `read_examples` does.
    """
    paths, test = arguments.paths("paths", paths), arguments.paths("test", test)
    template = base.template if base is not None else None
    show = progress or (lambda _stage, _done, _total: None)
    show("reading", 0, len(paths) + len(test))
    train = read_examples(paths, format=format, template=template)
    held = read_examples(test, format=format, template=template)
    show("reading", len(paths) + len(test), len(paths) + len(test))
    findings = [*train.findings, *held.findings]
    everything = [*train, *held]
    for number, example in enumerate(everything):
        if number % _EVERY == 0:
            show("looking at each example", number, len(everything))
        findings += turn_findings(example)
        findings += _private(example)
        findings += _control_tokens(example, base)
    findings += _enough(train)
    cost = None
    if base is not None:
        counts = _counts(everything, base, context or base.context, findings, show)
        findings += _template(base, everything)
        cost = _cost(counts[: len(train)], base, context, epochs, batch, rank)
    show("comparing them", 0, 1)
    findings += _doubles(train, held)
    show("comparing them", 1, 1)
    return Check(train.files, held.files, len(train), tuple(_sorted(findings, [*paths, *test])), cost)


def _sorted(findings: Sequence[Finding], paths: Sequence[Path]) -> list[Finding]:
    places = {str(path): number for number, path in enumerate(paths)}
    return sorted(
        findings, key=lambda one: (_RANKS[one.severity], places.get(one.source or "", -1), one.line or 0, one.kind)
    )


def spoken(example: Example) -> str:
    """What an example is about: its turns without the system text, which others share."""
    if example.text is not None:
        return example.text
    return "\n".join(message.content for message in example.messages if message.role != "system")


def question(example: Example) -> str:
    """What tells whether two examples ask the same: the first thing that the user says, in normal form."""
    first = next((message.content for message in example.messages if message.role == "user"), None)
    return normal(first if first is not None else spoken(example))


def _some(count: int) -> str:
    return "1 example" if count == 1 else f"{count:,} examples"


def _enough(train: Examples) -> Iterator[Finding]:
    count = sum(not any(found.severity == "error" for found in turn_findings(example)) for example in train)
    if not train.examples:
        yield Finding("error", "empty", None, None, "there is no example in these files; see what is said about them")
    elif count < TOO_FEW:
        said = f"{_some(count)} can be trained on, and fewer than {TOO_FEW} teach next to nothing; write more"
        yield Finding("warning", "few", None, None, said)
    elif count < FEW:
        said = f"{_some(count)} can be trained on; from {FEW} to 100 on a form or a vocabulary is usually learnt"
        yield Finding("note", "few", None, None, said)
    plain = sum(example.text is not None for example in train)
    if plain:
        said = (
            f"plain text without turns in {_some(plain)}: all of it is learnt, questions included; "
            "--base MODEL splits texts that were written with that model's own chat template"
        )
        yield Finding("note", "plain-text", None, None, said)


def _private(example: Example) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    text = example.text if example.text is not None else "\n".join(m.content for m in example.messages)
    for kind, string in private_strings(text):
        found.setdefault(kind, []).append(string)
    for kind, strings in found.items():
        more = f" and {len(strings) - 1} more" if len(strings) > 1 else ""
        said = f"holds what looks like {_article(kind)} {kind}: {masked(strings[0])}{more}; a tuned model may recite it"
        yield Finding("warning", "private", example.source, example.line, said)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _control_tokens(example: Example, base: Base | None) -> Iterator[Finding]:
    from edge.rag.sanitize import harmless, plain

    said: list[str] = []
    for message in example.messages:
        text = message.content
        if base is not None:
            said += base.spelled(text)
        elif ("<" in text or "[" in text) and harmless(text) != plain(text):
            said += re.findall(r"<[|｜][^<>\n]{1,40}[|｜]>|</?\w+>|\[/?[A-Z_]+\]", text)[:1] or ["a mark of a template"]
    if said:
        sentence = (
            f"spells {', '.join(dict.fromkeys(said))}, by which chat templates end turns; take it out, or give the "
            "text as `text` if it is a whole conversation"
        )
        yield Finding("warning", "template", example.source, example.line, sentence)


def _counts(
    examples: Sequence[Example], base: Base, context: int | None, findings: list[Finding], show: Progress
) -> list[Count | None]:
    """Tokens of each example; None where it cannot be rendered, which becomes a finding."""
    from edge.errors import ModelError

    counts: list[Count | None] = []
    for number, example in enumerate(examples):
        if number % _EVERY == 0:
            show("counting tokens", number, len(examples))
        count = None
        try:
            count = base.count(example)
        except ModelError as error:
            if not any(found.severity == "error" for found in turn_findings(example)):  # else it is told already
                findings.append(Finding("error", "template", example.source, example.line, f"does not fit: {error}"))
        if count is not None and context and count.all > context:
            said = (
                f"has {count.all:,} tokens and the context is {context:,}: its end would be cut off; shorten it, or "
                "train with a longer --context"
            )
            findings.append(Finding("error", "too-long", example.source, example.line, said))
        counts.append(count)
    return counts


def _template(base: Base, examples: Sequence[Example]) -> Iterator[Finding]:
    if not base.own_template:
        said = "has no chat template of its own; edge trains and answers with ChatML, other programs may not"
        yield Finding("warning", "template", str(base.path), None, said)
    systems = sum(any(message.role == "system" for message in example.messages) for example in examples)
    if systems and not base.keeps_system:
        said = (
            f"its template has no system role: the system text of {_some(systems)} goes in front of the first "
            "question, as edge does it when it answers"
        )
        yield Finding("note", "template", str(base.path), None, said)


def _cost(
    counts: Sequence[Count | None],
    base: Base,
    context: int | None,
    epochs: float | None,
    batch: int | None,
    rank: int | None,
) -> Cost | None:
    from edge_converters.data import estimate as cost

    known = [count for count in counts if count is not None]
    if not known:
        return None
    return cost.estimate(
        known,
        base.shapes,
        context=context or base.context,
        epochs=epochs or cost.EPOCHS,
        batch=batch or cost.BATCH,
        rank=rank or cost.RANK,
    )


def _doubles(train: Examples, held: Examples) -> Iterator[Finding]:
    """Duplicates within the training files, and what of the test files is in them."""
    whole: dict[str, Example] = {}
    asked: dict[str, Example] = {}
    once: list[Example] = []
    for example in train:
        key = "\0".join(f"{m.role}:{normal(m.content)}" for m in example.messages) or normal(example.text or "")
        if key in whole:
            said = f"is the same as {whole[key].place}; leave one out, or it counts twice"
            yield Finding("warning", "duplicate", example.source, example.line, said)
            continue
        whole[key] = example
        once.append(example)
        same = asked.setdefault(question(example), example)
        if same is not example and len(example.messages) == len(same.messages):
            said = f"asks the same as {same.place} and has another answer; fine if both are wanted"
            yield Finding("note", "same-question", example.source, example.line, said)
    border = len(once)
    for example in held:
        key = "\0".join(f"{m.role}:{normal(m.content)}" for m in example.messages) or normal(example.text or "")
        first = whole.get(key) or asked.get(question(example))
        if first is None:
            once.append(example)
            continue
        what = "is trained on" if key in whole else "asks what is trained on"
        said = f"{what} ({first.place}), so that a test with it shows memory and not skill; `edge data split` avoids it"
        yield Finding("error", "leak", example.source, example.line, said)
    yield from _near(once, border)


def _near(examples: Sequence[Example], border: int) -> Iterator[Finding]:
    """From `border` on they are for the test."""
    told: set[int] = set()
    for pair in find_alike([spoken(example) for example in examples]):
        first, second = examples[pair.first], examples[pair.second]
        if pair.second in told or pair.first >= border:
            continue
        told.add(pair.second)
        alike = f"nearly the same as {first.place} ({pair.share:.0%} alike)"
        if pair.second >= border:
            said = f"is {alike}, which is trained on; `edge data split` keeps such pairs on one side"
            yield Finding("warning", "near-leak", second.source, second.line, said)
        elif question(first) != question(second):
            said = f"is {alike}; leave one out unless the difference is what is to be learnt"
            yield Finding("warning", "near-duplicate", second.source, second.line, said)
