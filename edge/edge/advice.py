"""What to do next - documents, tuning, both, examples in the prompt, or something else - and on which figures that
rests. The rules stand in one table, `RULES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.compare_metrics import METRICS
from edge.compare_statistics import LEAST, MARGIN
from edge.compare_types import Comparison, Difference, Question
from edge.compare_verdict import (
    NAMES,
    candidates,
    capital,
    counted,
    figure,
    lost_skills,
    number,
    share,
    skill_counts,
    told,
)
from edge.errors import UsageError

Recommendation = Literal["rag", "tune", "both", "prompt", "improve", "ask more", "try"]

HEADLINES: dict[Recommendation, str] = {
    "rag": "Answer from your documents (RAG); leave the model as it is.",
    "tune": "Tune the model; it does not need your documents for this.",
    "both": "Tune the model and give it your documents.",
    "prompt": "Neither documents nor tuning: a good prompt does it.",
    "improve": "Nothing that was tried is worth it yet.",
    "ask more": "There are not enough questions to decide.",
    "try": "Compare before you decide.",
}

ENOUGH_TO_TUNE = 50
"""Examples from which on tuning for a form is worth a try."""
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
class Advice:
    """What is recommended, and why: sentences that each carry the figure they rest on."""

    recommendation: Recommendation
    headline: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known. Reading aids for the rules below."""

    comparison: Comparison | None = None
    data: DataFacts | None = None
    index: IndexFacts | None = None

    def between(self, way: str, against: str, metric: str = "good") -> Difference | None:
        return None if self.comparison is None else self.comparison.between(way, against, metric)

    def better(self, way: str, against: str, metric: str = "good") -> bool:
        d = self.between(way, against, metric)
        return d is not None and d.outcome == "better"

    def mean(self, way: str, metric: str = "good") -> float | None:
        return None if self.comparison is None else self.comparison.mean(way, metric)

    def beaten(self, way: str) -> bool:
        """Whether some other way that a person can choose is surely better."""
        return any(self.better(other, way) for other in self.choices if other != way)

    def as_good(self, way: str, other: str) -> bool:
        """Surely within the margin, or not told apart and no more than the margin behind."""
        d = self.between(way, other)
        if d is None:
            return False
        return d.outcome in ("same", "better") or (d.outcome == "unknown" and d.difference >= -MARGIN)

    @property
    def choices(self) -> list[str]:
        return [] if self.comparison is None else candidates(self.comparison)

    @property
    def prompting(self) -> list[str]:
        """Ways without documents or tuning."""
        return [way for way in self.choices if way in ("base", "few-shot")]

    @property
    def plain(self) -> str:
        """What a tuned model has to beat: the base with examples, where that was tried."""
        return "few-shot" if "few-shot" in self.choices else "base"

    @property
    def formal(self) -> list[str]:
        """Metrics of vocabulary, style and form."""
        return ["form", "rouge", "surprise"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`when` it holds, the recommendation is `then`, because of `why`."""

    then: Recommendation
    when: Callable[[Facts], bool]
    why: Callable[[Facts], list[str]]


def advise(
    comparison: Comparison | None = None, *, data: DataFacts | None = None, index: IndexFacts | None = None
) -> Advice:
    """The first rule of `RULES` that holds, with what else is known of the data and the index.

    Raises UsageError where nothing at all is known.
    """
    facts = Facts(comparison, data, index)
    if comparison is None and data is None and index is None:
        raise UsageError("there is nothing to advise on; give a comparison, --data FILE or --index NAME")
    rule = next(rule for rule in RULES if rule.when(facts))
    reasons = [*rule.why(facts), *_forgotten(facts), *_of_data(facts), *_of_index(facts)]
    return Advice(rule.then, HEADLINES[rule.then], tuple(reasons))


def data_facts(examples: Sequence[Question]) -> DataFacts:
    replies = [example.wanted or "" for example in examples]
    different = len({(e.question.strip().lower(), reply.strip()) for e, reply in zip(examples, replies, strict=True)})
    count = max(1, len(examples))
    asked = sum(len(example.question.split()) for example in examples) / count
    return DataFacts(len(examples), different, asked, sum(len(reply.split()) for reply in replies) / count)


# When each rule holds -------------------------------------------------------------------------------------------


def _nothing_compared(f: Facts) -> bool:
    return f.comparison is None


def _too_few(f: Facts) -> bool:
    """Of the best way it is not known whether it is better than the base, nor that it is as good."""
    if len(f.choices) < 2:
        return True
    rivals = [f.between(f.choices[0], way) for way in f.choices[1:]]
    if any(d is not None and d.n < LEAST for d in rivals):
        return True
    telling = [d for way in f.choices if way != "base" and (d := f.between(way, "base")) is not None]
    return bool(telling) and all(d.outcome == "unknown" for d in telling)


def _prompting_is_as_good(f: Facts) -> bool:
    """Examples in the prompt beat the base and nothing surely beats them; or the base itself is not beaten."""
    best = f.choices[0]
    if f.better("few-shot", "base") and not f.beaten("few-shot"):
        return best == "few-shot" or f.as_good("few-shot", best)
    return not f.beaten("base") and _good_enough(f, "base") and (best == "base" or f.as_good("base", best))


def _good_enough(f: Facts, way: str) -> bool:
    return (f.mean(way) or 0.0) >= READS


def _both_add(f: Facts) -> bool:
    return all(f.better("rag+tuned", way) for way in ("base", "rag", "tuned")) and not f.beaten("rag+tuned")


def _documents_help(f: Facts) -> bool:
    return f.better("rag", "base") and not f.better("tuned", "rag")


def _tuning_helps(f: Facts) -> bool:
    """Beats prompting as a whole, or in form while it is not beaten as a whole."""
    if not f.better("tuned", "base") or f.beaten("tuned"):
        return False
    return f.better("tuned", f.plain) or any(f.better("tuned", f.plain, metric) for metric in f.formal)


def _only_together(f: Facts) -> bool:
    """Better than the base together, and not seen to be so alone."""
    return f.better("rag+tuned", "base") and not f.better("rag", "base") and not f.better("tuned", "base")


def _nothing_helps(f: Facts) -> bool:
    return not any(f.better(way, "base") for way in f.choices if way != "base")


# Why: sentences with the figures ----------------------------------------------------------------------------------


def _why_try(f: Facts) -> list[str]:
    return ["No comparison was given: 0 questions asked. `edge compare QUESTIONS …` asks them in every way."]


def _why_more(f: Facts) -> list[str]:
    assert f.comparison is not None
    if len(f.choices) < 2:
        return [
            f"{counted(len(f.choices), 'way')} of choice: {', '.join(f.choices) or 'none'}; "
            "it takes the base and one other at least."
        ]
    asked = len(f.comparison.asked)
    ds = [d for way in f.choices if way != "base" and (d := f.between(way, "base")) is not None]
    said = [f"{capital(NAMES[d.way])} against the base, as asked: {told(d)}." for d in ds]
    wanted = max([d.needed for d in ds] + [2 * LEAST])
    more = max(wanted - asked, LEAST)
    return [
        *said,
        f"{asked} questions were asked; about {more:,} more would be needed, if the difference is what it seems.",
    ]


def _why_prompt(f: Facts) -> list[str]:
    way = "few-shot" if f.better("few-shot", "base") else "base"
    said = _comparing(f, way, "base") if way != "base" else []
    for other in f.choices:
        if other not in ("base", way):
            said += _comparing(f, way, other, "prompt_tokens" if other == "tuned" else None)
    return said or _doing(f, way)


def _why_rag(f: Facts) -> list[str]:
    said = _comparing(f, "rag", "base")
    cited = f.mean("rag", "citation")
    if cited is not None:
        said.append(f"{share(cited)} of its citations point to the place of the answer, so that it can be traced.")
    for way in ("tuned", "rag+tuned", "few-shot"):
        said += _comparing(f, "rag", way)
    return said + _reading(f)


def _why_tune(f: Facts) -> list[str]:
    said = _comparing(f, "tuned", "base")
    if f.plain != "base":
        said += _comparing(f, "tuned", f.plain)
    for metric in f.formal:
        d = f.between("tuned", f.plain, metric)
        if d is not None and d.outcome == "better":
            a, b = (number(metric, f.mean(way, metric) or 0.0) for way in ("tuned", f.plain))
            label = "perplexity of the wanted reply" if metric == "surprise" else METRICS[metric].label
            said.append(f"{capital(label)}: {a} against {b} of {NAMES[f.plain]}.")
    said += _tokens(f, "tuned", f.plain)
    for way in ("rag", "rag+tuned"):
        said += _comparing(f, "tuned", way)
    return said


def _why_both(f: Facts) -> list[str]:
    said: list[str] = []
    for way in ("base", "rag", "tuned", "few-shot"):
        said += _comparing(f, "rag+tuned", way)
    return said


def _why_improve(f: Facts) -> list[str]:
    said = []
    for way in f.choices:
        if way != "base":
            said += _comparing(f, way, "base")
    return said + _reading(f) + _another(f)


def _another(f: Facts) -> list[str]:
    """More data or another base: the oracle tells which."""
    oracle = f.mean("oracle")
    if oracle is not None and oracle < READS:
        return [f"With the right passage in hand the base still does only {share(oracle)}: try another, larger base."]
    if oracle is not None:
        return [f"With the right passage in hand the base does {share(oracle)}: it can read; give it better documents."]
    if "tuned" in f.choices:
        return ["Give the tuning more and better examples, or try another, larger base."]
    return ["Try another, larger base, or tune one on examples of what you want."]


def _reading(f: Facts) -> list[str]:
    d = f.between("oracle", "rag")
    if d is None or d.outcome != "better":
        return []
    return [f"Search loses something: with the right passage in hand it would do more ({told(d)})."]


def _comparing(f: Facts, way: str, other: str, tokens: str | None = None) -> list[str]:
    d = f.between(way, other)
    if d is None or f.comparison is None:
        return []
    words = {"better": "is better than", "worse": "is worse than", "same": "is as good as"}
    does = words.get(d.outcome, "cannot be told from")
    ours, theirs = figure(f.comparison, way), figure(f.comparison, other)
    said = [f"{capital(NAMES[way])} {does} {NAMES[other]}: {ours} against {theirs} as asked ({told(d)})."]
    return said + (_tokens(f, way, other) if tokens else [])


def _doing(f: Facts, way: str) -> list[str]:
    return [] if f.comparison is None else [f"{capital(NAMES[way])} does {figure(f.comparison, way)} as asked."]


def _tokens(f: Facts, way: str, other: str) -> list[str]:
    ours, theirs = f.mean(way, "prompt_tokens"), f.mean(other, "prompt_tokens")
    if ours is None or theirs is None:
        return []
    return [f"It reads {ours:,.0f} tokens a question, {NAMES[other]} {theirs:,.0f}."]


def _forgotten(f: Facts) -> list[str]:
    d = None if f.comparison is None else lost_skills(f.comparison)
    if d is None or d.outcome != "worse" or f.comparison is None:
        return []
    counts = skill_counts(f.comparison)
    (tuned, asked), (base, _) = counts["tuned"], counts["base"]
    return [f"But tuning cost general skill: {tuned} of {asked} questions right, the base {base}. Train less."]


def _of_data(f: Facts) -> list[str]:
    if f.data is None:
        return []
    told_of = f"The data has {counted(f.data.examples, 'example')}, {f.data.different:,} of them different"
    if f.data.different < ENOUGH_TO_TUNE:
        return [f"{told_of}: fewer than {ENOUGH_TO_TUNE} teach a form at best; show them few-shot, or write more."]
    return [f"{told_of}, with {f.data.reply_words:,.0f} words a reply: enough to try `edge tune`."]


def _of_index(f: Facts) -> list[str]:
    if f.index is None:
        return []
    said = f"The index holds {counted(f.index.documents, 'document')} in {counted(f.index.passages, 'passage')}"
    if f.index.stale:
        return [
            f"{said}, and {f.index.stale:,} of them changed since they were read: what changes belongs into an "
            "index, not into weights."
        ]
    return [f"{said}, none of them changed since it was read."]


RULES = (
    Rule("try", _nothing_compared, _why_try),
    Rule("ask more", _too_few, _why_more),
    Rule("prompt", _prompting_is_as_good, _why_prompt),
    Rule("both", _both_add, _why_both),
    Rule("tune", _tuning_helps, _why_tune),
    Rule("rag", _documents_help, _why_rag),
    Rule("both", _only_together, _why_both),
    Rule("improve", _nothing_helps, _why_improve),
    Rule("ask more", lambda _: True, _why_more),
)
"""From the top; the first that holds decides."""
