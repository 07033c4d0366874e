"""Why something is recommended: sentences that each carry the figure they rest on."""

from __future__ import annotations

from edge.evaluation.advice_facts import READS, Facts
from edge.evaluation.metrics import METRICS
from edge.evaluation.statistics import LEAST
from edge.evaluation.verdict import NAMES, capital, counted, describe, figure, lost_skills, number, share, skill_counts

ENOUGH_TO_TUNE = 50
"""Examples from which on tuning for a form is worth a try."""


def why_try(f: Facts) -> list[str]:
    return ["No comparison was given: 0 questions asked. `edge compare QUESTIONS …` asks them in every variant."]


def why_more(f: Facts) -> list[str]:
    assert f.comparison is not None
    if len(f.choices) < 2:
        return [
            f"{counted(len(f.choices), 'variant')} of choice: {', '.join(f.choices) or 'none'}; "
            "it takes the base and one other at least."
        ]
    asked = len(f.comparison.asked)
    ds = [d for variant in f.choices if variant != "base" and (d := f.between(variant, "base")) is not None]
    said = [f"{capital(NAMES[d.variant])} against the base, as asked: {describe(d)}." for d in ds]
    wanted = max([d.needed for d in ds] + [2 * LEAST])
    more = max(wanted - asked, LEAST)
    return [
        *said,
        f"{asked} questions were asked; about {more:,} more would be needed, if the difference is what it seems.",
    ]


def why_prompt(f: Facts) -> list[str]:
    variant = "few-shot" if f.better("few-shot", "base") else "base"
    said = _comparing(f, variant, "base") if variant != "base" else []
    for other in f.choices:
        if other not in ("base", variant):
            said += _comparing(f, variant, other, "prompt_tokens" if other == "tuned" else None)
    return said or _doing(f, variant)


def why_rag(f: Facts) -> list[str]:
    said = _comparing(f, "rag", "base")
    cited = f.mean("rag", "citation")
    if cited is not None:
        said.append(f"{share(cited)} of its citations point to the place of the answer: so far it can be traced.")
    for variant in ("tuned", "rag+tuned", "few-shot"):
        said += _comparing(f, "rag", variant)
    return said + _reading(f)


def why_tune(f: Facts) -> list[str]:
    said = _comparing(f, "tuned", "base")
    if f.plain != "base":
        said += _comparing(f, "tuned", f.plain)
    for metric in f.formal:
        d = f.between("tuned", f.plain, metric)
        if d is not None and d.outcome == "better":
            a, b = (number(metric, f.mean(variant, metric) or 0.0) for variant in ("tuned", f.plain))
            label = "perplexity of the wanted reply" if metric == "nll_per_token" else METRICS[metric].label
            said.append(f"{capital(label)}: {a} against {b} of {NAMES[f.plain]}.")
    said += _tokens(f, "tuned", f.plain)
    if f.plain == "base":
        said.append("Examples in the prompt were not tried (0 answers); --examples FILE of edge compare tries them.")
    for variant in ("rag", "rag+tuned"):
        said += _comparing(f, "tuned", variant)
    return said


def why_both(f: Facts) -> list[str]:
    said: list[str] = []
    for variant in ("base", "rag", "tuned", "few-shot"):
        said += _comparing(f, "rag+tuned", variant)
    return said


def why_improve(f: Facts) -> list[str]:
    said = []
    for variant in f.choices:
        if variant != "base":
            said += _comparing(f, variant, "base")
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
    return [f"Search loses something: with the right passage in hand it would do more ({describe(d)})."]


def _comparing(f: Facts, variant: str, other: str, tokens: str | None = None) -> list[str]:
    d = f.between(variant, other)
    if d is None or f.comparison is None:
        return []
    words = {"better": "is better than", "worse": "is worse than", "same": "is as good as"}
    does = words.get(d.outcome, "cannot be told from")
    ours, theirs = figure(f.comparison, variant), figure(f.comparison, other)
    said = [f"{capital(NAMES[variant])} {does} {NAMES[other]}: {ours} against {theirs} as asked ({describe(d)})."]
    return said + (_tokens(f, variant, other) if tokens else [])


def _doing(f: Facts, variant: str) -> list[str]:
    return [] if f.comparison is None else [f"{capital(NAMES[variant])} does {figure(f.comparison, variant)} as asked."]


def _tokens(f: Facts, variant: str, other: str) -> list[str]:
    ours, theirs = f.mean(variant, "prompt_tokens"), f.mean(other, "prompt_tokens")
    if ours is None or theirs is None:
        return []
    return [f"It reads {ours:,.0f} tokens a question, {NAMES[other]} {theirs:,.0f}."]


def forgotten(f: Facts) -> list[str]:
    d = None if f.comparison is None else lost_skills(f.comparison)
    if d is None or d.outcome != "worse" or f.comparison is None:
        return []
    counts = skill_counts(f.comparison)
    (tuned, asked), (base, _) = counts["tuned"], counts["base"]
    return [f"But tuning cost general skill: {tuned} of {asked} questions right, the base {base}. Train less."]


def of_data(f: Facts) -> list[str]:
    if f.data is None:
        return []
    amount = f"The data has {counted(f.data.examples, 'example')}, {f.data.different:,} of them different"
    if f.data.different < ENOUGH_TO_TUNE:
        return [f"{amount}: fewer than {ENOUGH_TO_TUNE} teach a form at best; show them few-shot, or write more."]
    return [f"{amount}, with {f.data.reply_words:,.0f} words a reply: enough to try `edge tune`."]


def of_index(f: Facts) -> list[str]:
    if f.index is None:
        return []
    said = f"The index holds {counted(f.index.documents, 'document')} in {counted(f.index.passages, 'passage')}"
    if f.index.stale:
        return [
            f"{said}, and {f.index.stale:,} of them changed since they were read: what changes belongs into an "
            "index, not into weights."
        ]
    return [f"{said}, none of them changed since it was read."]
