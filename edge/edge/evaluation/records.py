"""The records of a comparison, and how they are written as JSON and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edge.errors import StorageError, UsageError
from edge.settings import RENAMED
from edge.types import Message

VARIANTS = ("base", "few-shot", "rag", "tuned", "rag+tuned", "oracle")
"""What can be asked, plainest first: the model itself, with examples, with documents, tuned."""

Outcome = Literal["better", "worse", "same", "unknown"]

VERSION = 2

_RENAMED = {"way": "variant", "ways": "variants", "good": "as_requested", "surprise": "nll_per_token", **RENAMED}
"""Keys and names of metrics of version 1."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question and what is known of its right answer.

    `answers` are short ones, any of which is right; empty: the documents do not tell; None: not known. `spans` are
    places of the answer in `document`, `passage` the place of the text that holds it, `passages` such texts
    themselves. `reference` is a whole reply, `form` a regular expression or a JSON schema that a reply must keep to.
    `before` are the turns, system included, that come before the question; None: whatever a chat would begin with.
    """

    question: str
    answers: tuple[str, ...] | None = None
    document: str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    passage: tuple[int, int] | None = None
    passages: tuple[str, ...] = ()
    reference: str | None = None
    form: str | dict[str, Any] | None = None
    before: tuple[Message, ...] | None = None

    @property
    def answerable(self) -> bool | None:
        """None where that is not known."""
        return None if self.answers is None else bool(self.answers)

    @property
    def wanted(self) -> str | None:
        """The one text that a good reply would be."""
        return self.reference or (self.answers[0] if self.answers else None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a citation of a reply points."""

    document: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Row:
    """One question, answered by one variant. `question` is its number, from 0. `figures` has the metrics by name,
    tokens and seconds among them. `error` says why there is no reply."""

    variant: str
    question: int
    text: str
    figures: dict[str, float]
    abstained: bool = False
    citations: tuple[Place, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Skill:
    """One question of general skill, answered by the base or the tuned model, without documents."""

    variant: str
    question: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """`variant` minus `against` in the mean of `metric`, over `n` questions that both answered, with a 95 % interval.

    `needed`: about how many questions would tell, where these do not.
    """

    variant: str
    against: str
    metric: str
    n: int
    difference: float
    low: float
    high: float
    outcome: Outcome
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of a metric over `n` questions, with a 95 % interval."""

    mean: float
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a question set came to, in every variant that was tried.

    `asked` are the questions, `rows` the replies. `figures[variant][metric]`. `planned` answers were wanted; fewer rows
    mean that it was interrupted. `notes` say which variants were left out and why, `verdict` what all of it means.
    """

    model: str
    adapter: str | None
    knowledge: str | None
    variants: tuple[str, ...]
    planned: int
    asked: tuple[Question, ...]
    rows: tuple[Row, ...]
    skills: tuple[Skill, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    verdict: tuple[str, ...] = ()
    version: int = VERSION

    @property
    def complete(self) -> bool:
        return len(self.rows) >= self.planned

    def mean(self, variant: str, metric: str) -> float | None:
        found = self.figures.get(variant, {}).get(metric)
        return None if found is None else found.mean

    def between(self, variant: str, against: str, metric: str) -> Difference | None:
        """The difference of two variants, whichever of them was written first."""
        for d in self.differences:
            if d.metric == metric and (d.variant, d.against) == (variant, against):
                return d
            if d.metric == metric and (d.variant, d.against) == (against, variant):
                turned: dict[Outcome, Outcome] = {"better": "worse", "worse": "better"}
                outcome = turned.get(d.outcome, d.outcome)
                low, high = -d.high, -d.low
                return replace(
                    d, variant=variant, against=against, difference=-d.difference, low=low, high=high, outcome=outcome
                )
        return None


def to_json(comparison: Comparison) -> str:
    return json.dumps(asdict(comparison), ensure_ascii=False, indent=1)


def read_comparison(file: Path) -> Comparison:
    """What `edge compare` wrote. Raises StorageError for a file that cannot be read, UsageError for another one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("version") not in (1, VERSION):
            raise ValueError("it has another version")
        return _comparison(found if found["version"] == VERSION else _upgraded(found))
    except OSError as error:
        raise StorageError(
            f"{file} cannot be read: {error.strerror}; make it with: edge compare … -o {file}"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{file} is no comparison that `edge compare` wrote ({error}); make it afresh") from error


def question_from(found: Mapping[str, Any]) -> Question:
    """A question from its record as JSON keeps it."""
    before = found["before"]
    return Question(
        **{
            **found,
            "answers": None if found["answers"] is None else tuple(found["answers"]),
            "spans": tuple((start, end) for start, end in found["spans"]),
            "passage": None if found["passage"] is None else tuple(found["passage"]),
            "passages": tuple(found["passages"]),
            "before": None if before is None else tuple(Message(**turn) for turn in before),
        }
    )


def row_from(found: Mapping[str, Any]) -> Row:
    """A reply from its record as JSON keeps it, of any version."""
    found = _upgraded_row(found)
    return Row(**{**found, "citations": tuple(Place(**place) for place in found["citations"])})


def skill_from(found: Mapping[str, Any]) -> Skill:
    """As `row_from`."""
    return Skill(**_with_new_keys(found))


def _upgraded(found: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison of version 1 as this one writes it."""
    return {
        **_with_new_keys(found),
        "settings": _with_new_keys(found["settings"]),
        "figures": {variant: _with_new_keys(figures) for variant, figures in found["figures"].items()},
        "differences": [
            {**_with_new_keys(each), "metric": _RENAMED.get(each["metric"], each["metric"])}
            for each in found["differences"]
        ],
        "version": VERSION,
    }


def _upgraded_row(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**_with_new_keys(found), "figures": _with_new_keys(found["figures"])}


def _with_new_keys(found: Mapping[str, Any]) -> dict[str, Any]:
    return {_RENAMED.get(key, key): value for key, value in found.items()}


def _comparison(found: Mapping[str, Any]) -> Comparison:
    figures = {
        variant: {metric: Figure(**figure) for metric, figure in metrics.items()}
        for variant, metrics in found["figures"].items()
    }
    return Comparison(
        **{
            **found,
            "variants": tuple(found["variants"]),
            "asked": tuple(map(question_from, found["asked"])),
            "rows": tuple(map(row_from, found["rows"])),
            "skills": tuple(map(skill_from, found["skills"])),
            "notes": tuple(found["notes"]),
            "figures": figures,
            "differences": tuple(Difference(**difference) for difference in found["differences"]),
            "verdict": tuple(found["verdict"]),
        }
    )
