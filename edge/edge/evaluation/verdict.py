"""What a comparison means, in sentences that each carry the figure they rest on."""

from __future__ import annotations

import math

from edge.evaluation.metrics import METRICS
from edge.evaluation.records import Comparison, Difference
from edge.evaluation.statistics import LEAST, MARGIN

NAMES = {
    "base": "the base",
    "few-shot": "the base with examples (few-shot)",
    "rag": "the base with your documents (rag)",
    "tuned": "the tuned model",
    "rag+tuned": "the tuned model with your documents (rag+tuned)",
    "oracle": "the base with the right passage in hand (oracle)",
}


def verdict(comparison: Comparison) -> tuple[str, ...]:
    """Sentences for people, the most important one first."""
    if not comparison.rows:
        return ("Nothing was answered, so that nothing can be said.",)
    said = [*_best(comparison), *_against_base(comparison), *_oracle(comparison)]
    said += _partial(comparison) + _silence(comparison) + _forgotten(comparison)
    return tuple(said)


def candidates(comparison: Comparison) -> list[str]:
    """Ways that a person can choose, the best one first; the oracle knows what nobody knows beforehand."""
    means = {variant: comparison.mean(variant, "as_requested") for variant in comparison.variants}
    known = {variant: mean for variant, mean in means.items() if variant != "oracle" and mean is not None}
    return sorted(known, key=lambda variant: -known[variant])


def figure(comparison: Comparison, variant: str, metric: str = "as_requested") -> str:
    """A mean as people read it: "31 of 40" where everything counts 0 or 1."""
    found = comparison.figures[variant][metric]
    values = [row.figures[metric] for row in comparison.rows if row.variant == variant and metric in row.figures]
    if METRICS[metric].share and all(value in (0.0, 1.0) for value in values):
        return f"{sum(values):.0f} of {found.n}"
    return number(metric, found.mean)


def number(metric: str, value: float) -> str:
    """As tables write it: `nll_per_token` as perplexity."""
    if metric == "nll_per_token":
        return f"{math.exp(min(value, 100.0)):,.1f}"
    if metric.endswith("seconds"):
        return f"{value:.2f}"
    return f"{value:.2f}" if METRICS[metric].share else f"{value:,.0f}"


def describe(d: Difference) -> str:
    """ "+0.35, 95 % interval +0.18 to +0.52, 40 questions"."""
    return f"{plus(d.difference)}, 95 % interval {plus(d.low)} to {plus(d.high)}, {d.n} questions"


def plus(value: float) -> str:
    """With its sign; nothing is no minus nothing."""
    return f"{round(value, 2) + 0.0:+.2f}"


def counted(count: int, what: str) -> str:
    """3, "question" -> "3 questions"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def share(value: float) -> str:
    return f"{100 * value:.0f} %"


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _best(comparison: Comparison) -> list[str]:
    order = candidates(comparison)
    if len(order) < 2:
        return ["Only one variant was tried; there is nothing to compare it with."] if order else []
    first, second = order[:2]
    d = comparison.between(first, second, "as_requested")
    if d is None:
        return []
    does = f"{capital(NAMES[first])} does best: {figure(comparison, first)} as asked"
    other = f"{NAMES[second]} ({figure(comparison, second)})"
    if d.outcome == "better":
        return [f"{does}, clearly before {other}: {describe(d)}."]
    if d.outcome == "same":
        return [f"{capital(NAMES[first])} and {other} are equally good, within {MARGIN:.2f}: {describe(d)}."]
    return [f"Not enough questions to tell {NAMES[first]} ({figure(comparison, first)}) from {other}: {_more(d)}."]


def _against_base(comparison: Comparison) -> list[str]:
    order = candidates(comparison)
    said = []
    for variant in comparison.variants:
        d = comparison.between(variant, "base", "as_requested") if variant not in ("base", "oracle") else None
        if d is None or set(order[:2]) == {variant, "base"}:
            continue
        against = f"the base ({figure(comparison, 'base')})"
        name = f"{capital(NAMES[variant])} ({figure(comparison, variant)})"
        said.append(
            {
                "better": f"{name} is better than {against}: {describe(d)}.",
                "worse": f"{name} is worse than {against}: {describe(d)}.",
                "same": f"{name} is as good as {against}, within {MARGIN:.2f}: {describe(d)}.",
                "unknown": f"{name} and {against}: not enough questions to tell: {_more(d)}.",
            }[d.outcome]
        )
    return said


def _more(d: Difference) -> str:
    if not d.n < d.needed:
        return describe(d)
    if d.n < LEAST:
        return f"{describe(d)}; fewer than {LEAST} prove nothing, so that about {d.needed - d.n:,} more would be needed"
    return f"{describe(d)}; about {d.needed - d.n:,} more would be needed"


def _oracle(comparison: Comparison) -> list[str]:
    d = comparison.between("oracle", "rag", "as_requested")
    if d is None:
        return []
    given = f"Given the right passage, the base does {figure(comparison, 'oracle')}; with what search finds, "
    given += figure(comparison, "rag")
    if d.outcome == "better":
        return [f"{given}: search loses something ({describe(d)})."]
    if d.outcome == "worse":
        return [f"{given}: what search adds around the passage helps ({describe(d)})."]
    if d.outcome == "same":
        return [f"{given}: search loses nothing ({describe(d)})."]
    return [f"{given}: not enough questions to tell whether search loses something: {_more(d)}."]


def _partial(comparison: Comparison) -> list[str]:
    if comparison.complete:
        return []
    done = f"{len(comparison.rows):,} of {comparison.planned:,} answers"
    return [f"It was interrupted: {done} stand in this report. The same command goes on from there."]


def _silence(comparison: Comparison) -> list[str]:
    """Ways that are silent too often or too seldom, where it matters."""
    said = []
    for variant in comparison.variants:
        precision, recall, silent, unanswerable = silence(comparison, variant)
        if unanswerable and recall is not None and silent:
            often, rightly = counted(silent, "time"), share(precision or 0.0)
            said.append(
                f"{capital(NAMES[variant])} says {often} that the documents do not tell, rightly in {rightly} of them, "
                f"and so for {share(recall)} of the {counted(unanswerable, 'question')} without an answer."
            )
    return said


def silence(comparison: Comparison, variant: str) -> tuple[float | None, float | None, int, int]:
    """Precision and recall of saying that the documents do not tell, how often that was said, and how often it was
    right to."""
    rows = [
        row for row in comparison.rows if row.variant == variant and comparison.asked[row.question].answers is not None
    ]
    silent = sum(row.abstained for row in rows)
    unanswerable = sum(not comparison.asked[row.question].answers for row in rows)
    both = sum(row.abstained and not comparison.asked[row.question].answers for row in rows)
    return (both / silent if silent else None, both / unanswerable if unanswerable else None, silent, unanswerable)


def skill_counts(comparison: Comparison) -> dict[str, tuple[int, int]]:
    """Way -> general questions answered rightly, and asked."""
    found: dict[str, tuple[int, int]] = {}
    for skill in comparison.skills:
        right, asked = found.get(skill.variant, (0, 0))
        found[skill.variant] = (right + skill.right, asked + 1)
    return found


def lost_skills(comparison: Comparison) -> Difference | None:
    """The tuned model against the base in general skill; None where that was not tried."""
    from edge.evaluation.statistics import difference

    by_variant: dict[str, dict[str, bool]] = {"base": {}, "tuned": {}}
    for skill in comparison.skills:
        by_variant[skill.variant][skill.question] = skill.right
    base, tuned = by_variant["base"], by_variant["tuned"]
    pairs = [(float(tuned[q]), float(base[q])) for q in base if q in tuned]
    return difference("tuned", "base", "right", pairs) if pairs else None


def _forgotten(comparison: Comparison) -> list[str]:
    d = lost_skills(comparison)
    if d is None:
        return []
    counts = skill_counts(comparison)
    (tuned, asked), (base, _) = counts["tuned"], counts["base"]
    skills = f"{tuned} of {asked} general questions against the base's {base}"
    if d.outcome == "worse":
        return [f"The tuned model has forgotten things: {skills} ({describe(d)}). Train less, or with a lower rank."]
    if d.outcome == "better":
        return [f"The tuned model has lost no general skill: {skills} ({describe(d)})."]
    return [f"No loss of general skill is seen: the tuned model answers {skills} ({describe(d)})."]
