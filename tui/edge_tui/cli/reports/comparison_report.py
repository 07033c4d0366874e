"""A comparison as one HTML file: verdict, plots, tables and all answers side by side. It needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath

from edge.evaluation.metrics import METRICS
from edge.evaluation.records import Comparison, Difference, Question, Row
from edge.evaluation.verdict import number, plus
from edge_tui.cli.reports.compare_table import figure_rows
from edge_tui.terminal import printable


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of a plot: positions are per cent of its width. `mark` is the dot of an interval, None for a bar."""

    label: str
    start: float
    end: float
    mark: float | None
    value: str


@dataclass(frozen=True, slots=True)
class Plot:
    """`zero` is where a vertical line stands, in per cent; `ends` are the labels of the axis."""

    title: str
    says: str
    bars: list[Bar]
    zero: float | None
    ends: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    variant: str
    text: str
    mark: str
    good: bool | None
    facts: str
    citations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One question with all its replies; `kinds` are what a reader can filter by."""

    number: int
    question: str
    wanted: str
    kinds: str
    cells: list[Cell]


def report(comparison: Comparison) -> str:
    """The whole page. Whatever comes from documents, questions or models is escaped."""
    import jinja2

    template = files("edge_tui.cli.reports").joinpath("comparison_report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _shown
    environment.filters["plus"] = plus
    compared = [d for d in comparison.differences if METRICS[d.metric].quality]
    return environment.from_string(template).render(
        comparison=comparison,
        figures=figure_rows(comparison),
        plots=_plots(comparison),
        differences=[(_label(d.metric), d, _outcome(d)) for d in compared],
        sides=[_side(comparison, i, question) for i, question in enumerate(comparison.asked)],
        settings=[(name.replace("_", " "), value) for name, value in comparison.settings.items() if value is not None],
    )


def _shown(value: object) -> str:
    return printable(str(value))


def _plots(comparison: Comparison) -> list[Plot]:
    plots = []
    known = [(variant, comparison.figures.get(variant, {}).get("as_requested")) for variant in comparison.variants]
    bars = [_interval(variant, f.mean, f.low, f.high, signed=False) for variant, f in known if f is not None]
    if bars:
        says = "Share of the questions that were answered as asked, with 95 % intervals. Further right is better."
        plots.append(Plot("As asked", says, bars, None, ("0", "1")))
    against = [d for d in comparison.differences if d.metric == "as_requested" and d.against == "base"]
    if against:
        says = "The same questions, variant minus base. An interval that does not touch the line is more than chance."
        bars = [_interval(d.variant, d.difference, d.low, d.high, signed=True) for d in against]
        plots.append(Plot("Better or worse than the base", says, bars, 50, ("-1", "+1")))
    for metric, title in (("prompt_tokens", "Prompt tokens a question"), ("seconds", "Seconds an answer")):
        costs = [
            (variant, mean) for variant in comparison.variants if (mean := comparison.mean(variant, metric)) is not None
        ]
        most = max((mean for _, mean in costs), default=0.0)
        if most > 0:
            bars = [Bar(variant, 0, 100 * mean / most, None, number(metric, mean)) for variant, mean in costs]
            plots.append(Plot(title, "Means. Shorter is cheaper.", bars, None, ("0", number(metric, most))))
    return plots


def _interval(variant: str, mean: float, low: float, high: float, *, signed: bool) -> Bar:
    """A dot with its interval; an axis from 0 to 1, `signed` from -1 to 1."""
    if not signed:
        return Bar(variant, 100 * low, 100 * high, 100 * mean, f"{mean:.2f} ({low:.2f} to {high:.2f})")
    start, end, mark = (50 + 50 * value for value in (low, high, mean))
    return Bar(variant, start, end, mark, f"{plus(mean)} ({plus(low)} to {plus(high)})")


def _label(metric: str) -> str:
    return METRICS[metric].label


def _outcome(d: Difference) -> str:
    if d.outcome == "unknown":
        return f"not enough questions; about {d.needed:,} would tell" if d.needed else "not told apart"
    return {"better": "better", "worse": "worse", "same": "as good"}[d.outcome]


def _side(comparison: Comparison, at: int, question: Question) -> Side:
    rows = [row for row in comparison.rows if row.question == at]
    goods = [row.figures["as_requested"] for row in rows if "as_requested" in row.figures]
    kinds = ["unanswerable"] if question.answerable is False else []
    kinds += ["differ"] if goods and min(goods) != max(goods) else []
    kinds += ["wrong"] if goods and max(goods) == 0 else []
    kinds += ["silent"] if any(row.abstained for row in rows) else []
    wanted = " / ".join(question.answers or ()) or question.reference or ""
    if question.answerable is False:
        wanted = "The documents do not tell."
    order = {variant: i for i, variant in enumerate(comparison.variants)}
    cells = [_cell(row) for row in sorted(rows, key=lambda row: order[row.variant])]
    return Side(at + 1, question.question, wanted, " ".join(kinds), cells)


def _cell(row: Row) -> Cell:
    good = row.figures.get("as_requested")
    whole = good in (0.0, 1.0)
    mark = "" if good is None else ("as asked" if good else "not as asked") if whole else f"{good:.2f}"
    names = ("f1", "form", "citation", "prompt_tokens", "completion_tokens", "seconds")
    facts = " · ".join(f"{_label(name)} {number(name, row.figures[name])}" for name in names if name in row.figures)
    places = tuple(
        f"{PurePath(place.document).name}:{place.start}-{place.end}: {place.quote}" for place in row.citations
    )
    text = row.error or row.text or "(no reply)"
    return Cell(row.variant, text, mark, bool(good) if whole else None, facts, places)
