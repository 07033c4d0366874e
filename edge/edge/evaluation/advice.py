"""What to do next - documents, tuning, both, examples in the prompt, or something else - and on which figures that
rests. The rules stand in one table, `RULES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge.errors import UsageError
from edge.evaluation.advice_facts import READS, DataFacts, Facts, IndexFacts, data_facts
from edge.evaluation.advice_reasons import (
    forgotten,
    of_data,
    of_index,
    why_both,
    why_improve,
    why_more,
    why_prompt,
    why_rag,
    why_try,
    why_tune,
)
from edge.evaluation.records import Comparison
from edge.evaluation.statistics import LEAST

__all__ = ["HEADLINES", "RULES", "Advice", "DataFacts", "IndexFacts", "Rule", "advise", "data_facts"]

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


@dataclass(frozen=True, slots=True)
class Advice:
    """What is recommended, and why: sentences that each carry the figure they rest on."""

    recommendation: Recommendation
    headline: str
    reasons: tuple[str, ...]


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
    reasons = [*rule.why(facts), *forgotten(facts), *of_data(facts), *of_index(facts)]
    return Advice(rule.then, HEADLINES[rule.then], tuple(reasons))


def _nothing_compared(f: Facts) -> bool:
    return f.comparison is None


def _too_few(f: Facts) -> bool:
    """Of the best variant it is not known whether it is better than the base, nor that it is as good."""
    if len(f.choices) < 2:
        return True
    rivals = [f.between(f.choices[0], variant) for variant in f.choices[1:]]
    if any(d is not None and d.n < LEAST for d in rivals):
        return True
    telling = [d for variant in f.choices if variant != "base" and (d := f.between(variant, "base")) is not None]
    return bool(telling) and all(d.outcome == "unknown" for d in telling)


def _prompting_is_as_good(f: Facts) -> bool:
    """Examples in the prompt beat the base and nothing surely beats them; or the base itself is not beaten."""
    best = f.choices[0]
    if f.better("few-shot", "base") and not f.beaten("few-shot"):
        return best == "few-shot" or f.as_good("few-shot", best)
    return not f.beaten("base") and _good_enough(f, "base") and (best == "base" or f.as_good("base", best))


def _good_enough(f: Facts, variant: str) -> bool:
    return (f.mean(variant) or 0.0) >= READS


def _both_add(f: Facts) -> bool:
    return all(f.better("rag+tuned", variant) for variant in ("base", "rag", "tuned")) and not f.beaten("rag+tuned")


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
    return not any(f.better(variant, "base") for variant in f.choices if variant != "base")


RULES = (
    Rule("try", _nothing_compared, why_try),
    Rule("ask more", _too_few, why_more),
    Rule("prompt", _prompting_is_as_good, why_prompt),
    Rule("both", _both_add, why_both),
    Rule("tune", _tuning_helps, why_tune),
    Rule("rag", _documents_help, why_rag),
    Rule("both", _only_together, why_both),
    Rule("improve", _nothing_helps, why_improve),
    Rule("ask more", lambda _: True, why_more),
)
"""From the top; the first that holds decides."""
