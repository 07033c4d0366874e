"""What advice rests on: a comparison, the data to tune on, the index; with reading aids for the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.evaluation.records import Comparison, Difference, Question
from edge.evaluation.statistics import MARGIN
from edge.evaluation.verdict import candidates

READS = 0.5
"""A base that does less than this with the right passage in hand cannot read well enough."""


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """Of an index: its documents, and how many of them changed or vanished since they were read."""

    documents: int
    passages: int
    stale: int


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Of examples to tune on: how many, different ones, and the mean words of what is asked and replied."""

    examples: int
    different: int
    asked_words: float
    reply_words: float


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known."""

    comparison: Comparison | None = None
    data: DataFacts | None = None
    index: IndexFacts | None = None

    def between(self, variant: str, against: str, metric: str = "as_requested") -> Difference | None:
        return None if self.comparison is None else self.comparison.between(variant, against, metric)

    def better(self, variant: str, against: str, metric: str = "as_requested") -> bool:
        d = self.between(variant, against, metric)
        return d is not None and d.outcome == "better"

    def mean(self, variant: str, metric: str = "as_requested") -> float | None:
        return None if self.comparison is None else self.comparison.mean(variant, metric)

    def beaten(self, variant: str) -> bool:
        """Whether some other variant that a person can choose is surely better."""
        return any(self.better(other, variant) for other in self.choices if other != variant)

    def as_good(self, variant: str, other: str) -> bool:
        """Surely within the margin, or not told apart and no more than the margin behind."""
        d = self.between(variant, other)
        if d is None:
            return False
        return d.outcome in ("same", "better") or (d.outcome == "unknown" and d.difference >= -MARGIN)

    @property
    def choices(self) -> list[str]:
        return [] if self.comparison is None else candidates(self.comparison)

    @property
    def prompting(self) -> list[str]:
        """Ways without documents or tuning."""
        return [variant for variant in self.choices if variant in ("base", "few-shot")]

    @property
    def plain(self) -> str:
        """What a tuned model has to beat: the base with examples, where that was tried."""
        return "few-shot" if "few-shot" in self.choices else "base"

    @property
    def formal(self) -> list[str]:
        """Metrics of vocabulary, style and form."""
        return ["form", "rouge", "nll_per_token"]


def data_facts(examples: Sequence[Question]) -> DataFacts:
    replies = [example.wanted or "" for example in examples]
    different = len({(e.question.strip().lower(), reply.strip()) for e, reply in zip(examples, replies, strict=True)})
    count = max(1, len(examples))
    asked = sum(len(example.question.split()) for example in examples) / count
    return DataFacts(len(examples), different, asked, sum(len(reply.split()) for reply in replies) / count)
