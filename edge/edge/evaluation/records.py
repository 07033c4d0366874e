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

WAYS = ("base", "few-shot", "rag", "tuned", "rag+tuned", "oracle")
"""The ways to answer, plainest first."""

Outcome = Literal["better", "worse", "same", "unknown"]

VERSION = 1


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
    """One question, answered in one way. `question` is its number, from 0. `figures` has the metrics by name, tokens
    and seconds among them. `error` says why there is no reply."""

    way: str
    question: int
    text: str
    figures: dict[str, float]
    abstained: bool = False
    citations: tuple[Place, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Skill:
    """One question of general skill, answered by the base or the tuned model, without documents."""

    way: str
    question: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """`way` minus `against` in the mean of `metric`, over `n` questions that both answered, with a 95 % interval.

    `needed`: about how many questions would tell, where these do not.
    """

    way: str
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
    """What a question set came to, in every way that was tried.

    `asked` are the questions, `rows` the replies. `figures[way][metric]`. `planned` answers were wanted; fewer rows
    mean that it was interrupted. `notes` say which ways were left out and why, `verdict` what all of it means.
    """

    model: str
    adapter: str | None
    knowledge: str | None
    ways: tuple[str, ...]
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

    def mean(self, way: str, metric: str) -> float | None:
        found = self.figures.get(way, {}).get(metric)
        return None if found is None else found.mean

    def between(self, way: str, against: str, metric: str) -> Difference | None:
        """The difference of two ways, whichever of them was written first."""
        for d in self.differences:
            if d.metric == metric and (d.way, d.against) == (way, against):
                return d
            if d.metric == metric and (d.way, d.against) == (against, way):
                turned: dict[Outcome, Outcome] = {"better": "worse", "worse": "better"}
                outcome = turned.get(d.outcome, d.outcome)
                low, high = -d.high, -d.low
                return replace(
                    d, way=way, against=against, difference=-d.difference, low=low, high=high, outcome=outcome
                )
        return None


def to_json(comparison: Comparison) -> str:
    return json.dumps(asdict(comparison), ensure_ascii=False, indent=1)


def read_comparison(file: Path) -> Comparison:
    """What `edge compare` wrote. Raises StorageError for a file that cannot be read, UsageError for another one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise ValueError("it has another version")
        return _comparison(found)
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
    return Row(**{**found, "citations": tuple(Place(**place) for place in found["citations"])})


def _comparison(found: Mapping[str, Any]) -> Comparison:
    figures = {
        way: {metric: Figure(**figure) for metric, figure in metrics.items()}
        for way, metrics in found["figures"].items()
    }
    return Comparison(
        **{
            **found,
            "ways": tuple(found["ways"]),
            "asked": tuple(map(question_from, found["asked"])),
            "rows": tuple(map(row_from, found["rows"])),
            "skills": tuple(Skill(**skill) for skill in found["skills"]),
            "notes": tuple(found["notes"]),
            "settings": {RENAMED.get(name, name): value for name, value in found["settings"].items()},
            "figures": figures,
            "differences": tuple(Difference(**difference) for difference in found["differences"]),
            "verdict": tuple(found["verdict"]),
        }
    )
