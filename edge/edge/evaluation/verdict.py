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
    tried = [way for way in comparison.ways if way != "oracle" and comparison.mean(way, "good") is not None]
    return sorted(tried, key=lambda way: -(comparison.mean(way, "good") or 0.0))


def figure(comparison: Comparison, way: str, metric: str = "good") -> str:
    """A mean as people read it: "31 of 40" where everything counts 0 or 1."""
    found = comparison.figures[way][metric]
    values = [row.figures[metric] for row in comparison.rows if row.way == way and metric in row.figures]
    if METRICS[metric].share and all(value in (0.0, 1.0) for value in values):
        return f"{sum(values):.0f} of {found.n}"
    return number(metric, found.mean)


def number(metric: str, value: float) -> str:
    """As tables write it. Surprise is told as perplexity."""
    if metric == "surprise":
        return f"{math.exp(min(value, 100.0)):,.1f}"
    if metric.endswith("seconds"):
        return f"{value:.2f}"
    return f"{value:.2f}" if METRICS[metric].share else f"{value:,.0f}"


def told(d: Difference) -> str:
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
        return ["Only one way was tried; there is nothing to compare it with."] if order else []
    first, second = order[:2]
    d = comparison.between(first, second, "good")
    if d is None:
        return []
    does = f"{capital(NAMES[first])} does best: {figure(comparison, first)} as asked"
    other = f"{NAMES[second]} ({figure(comparison, second)})"
    if d.outcome == "better":
        return [f"{does}, clearly before {other}: {told(d)}."]
    if d.outcome == "same":
        return [f"{capital(NAMES[first])} and {other} are equally good, within {MARGIN:.2f}: {told(d)}."]
    return [f"Not enough questions to tell {NAMES[first]} ({figure(comparison, first)}) from {other}: {_more(d)}."]


def _against_base(comparison: Comparison) -> list[str]:
    order = candidates(comparison)
    said = []
    for way in comparison.ways:
        d = comparison.between(way, "base", "good") if way not in ("base", "oracle") else None
        if d is None or set(order[:2]) == {way, "base"}:
            continue
        against = f"the base ({figure(comparison, 'base')})"
        name = f"{capital(NAMES[way])} ({figure(comparison, way)})"
        said.append(
            {
                "better": f"{name} is better than {against}: {told(d)}.",
                "worse": f"{name} is worse than {against}: {told(d)}.",
                "same": f"{name} is as good as {against}, within {MARGIN:.2f}: {told(d)}.",
                "unknown": f"{name} and {against}: not enough questions to tell: {_more(d)}.",
            }[d.outcome]
        )
    return said


def _more(d: Difference) -> str:
    if not d.n < d.needed:
        return told(d)
    if d.n < LEAST:
        return f"{told(d)}; fewer than {LEAST} prove nothing, so that about {d.needed - d.n:,} more would be needed"
    return f"{told(d)}; about {d.needed - d.n:,} more would be needed"


def _oracle(comparison: Comparison) -> list[str]:
    d = comparison.between("oracle", "rag", "good")
    if d is None:
        return []
    given = f"Given the right passage, the base does {figure(comparison, 'oracle')}; with what search finds, "
    given += figure(comparison, "rag")
    if d.outcome == "better":
        return [f"{given}: search loses something ({told(d)})."]
    if d.outcome == "worse":
        return [f"{given}: what search adds around the passage helps ({told(d)})."]
    if d.outcome == "same":
        return [f"{given}: search loses nothing ({told(d)})."]
    return [f"{given}: not enough questions to tell whether search loses something: {_more(d)}."]


def _partial(comparison: Comparison) -> list[str]:
    if comparison.complete:
        return []
    done = f"{len(comparison.rows):,} of {comparison.planned:,} answers"
    return [f"It was interrupted: {done} stand in this report. The same command goes on from there."]


def _silence(comparison: Comparison) -> list[str]:
    """Ways that are silent too often or too seldom, where it matters."""
    said = []
    for way in comparison.ways:
        precision, recall, silent, untold = silence(comparison, way)
        if untold and recall is not None and silent:
            often, rightly = counted(silent, "time"), share(precision or 0.0)
            said.append(
                f"{capital(NAMES[way])} says {often} that it is not told, rightly in {rightly} of them, "
                f"and so for {share(recall)} of the {counted(untold, 'question')} without an answer."
            )
    return said


def silence(comparison: Comparison, way: str) -> tuple[float | None, float | None, int, int]:
    """Precision and recall of saying that it is not told, how often that was said, and how often it was right to."""
    rows = [row for row in comparison.rows if row.way == way and comparison.asked[row.question].answers is not None]
    silent = sum(row.abstained for row in rows)
    untold = sum(not comparison.asked[row.question].answers for row in rows)
    both = sum(row.abstained and not comparison.asked[row.question].answers for row in rows)
    return (both / silent if silent else None, both / untold if untold else None, silent, untold)


def skill_counts(comparison: Comparison) -> dict[str, tuple[int, int]]:
    """Way -> general questions answered rightly, and asked."""
    found: dict[str, tuple[int, int]] = {}
    for skill in comparison.skills:
        right, asked = found.get(skill.way, (0, 0))
        found[skill.way] = (right + skill.right, asked + 1)
    return found


def lost_skills(comparison: Comparison) -> Difference | None:
    """The tuned model against the base in general skill; None where that was not tried."""
    from edge.evaluation.statistics import difference

    by_way: dict[str, dict[str, bool]] = {"base": {}, "tuned": {}}
    for skill in comparison.skills:
        by_way[skill.way][skill.question] = skill.right
    base, tuned = by_way["base"], by_way["tuned"]
    pairs = [(float(tuned[q]), float(base[q])) for q in base if q in tuned]
    return difference("tuned", "base", "right", pairs) if pairs else None


def _forgotten(comparison: Comparison) -> list[str]:
    d = lost_skills(comparison)
    if d is None:
        return []
    counts = skill_counts(comparison)
    (tuned, asked), (base, _) = counts["tuned"], counts["base"]
    told_of = f"{tuned} of {asked} general questions against the base's {base}"
    if d.outcome == "worse":
        return [f"The tuned model has forgotten things: {told_of} ({told(d)}). Train less, or with a lower rank."]
    if d.outcome == "better":
        return [f"The tuned model has lost no general skill: {told_of} ({told(d)})."]
    return [f"No loss of general skill is seen: the tuned model answers {told_of} ({told(d)})."]
