"""A comparison on the terminal: figures by variant, differences with their intervals, the verdict."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edge.evaluation.metrics import METRICS
from edge.evaluation.verdict import number, plus, silence, skill_counts
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.evaluation.run import Comparison

_SHOWN_AGAINST = 30
"""Differences that a terminal is told; the report has all."""


def print_comparison(comparison: Comparison) -> None:
    """To standard output; on a terminal no wider than that."""
    from rich.table import Table

    from edge_tui.safe_console import SafeConsole

    console = SafeConsole(sys.stdout)
    model = visible_name(comparison.model) + (f" + {visible_name(comparison.adapter)}" if comparison.adapter else "")
    console.print(f"{model} · {len(comparison.asked):,} questions", style="bold", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for variant in comparison.variants:
        table.add_column(variant, justify="right")
    for label, cells in figure_rows(comparison):
        table.add_row(label, *cells)
    if comparison.rows:
        console.print(table)
        console.print()
    differences = [d for d in comparison.differences if d.metric == "as_requested" and "base" in (d.variant, d.against)]
    for d in differences[:_SHOWN_AGAINST]:
        interval = f"{plus(d.difference)}  ({plus(d.low)} to {plus(d.high)}, {d.n} questions)"
        console.print(f"{d.variant} - {d.against}, as asked: {interval}", markup=False)
    if differences:
        console.print()
    for sentence in comparison.verdict:
        console.print(f"• {visible_name(sentence)}", markup=False, soft_wrap=not console.is_terminal)
    for note in comparison.notes:
        click.secho(visible_name(note), dim=True, err=True)


def figure_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Label and a cell for every variant, of all that was measured."""
    rows = []
    for metric, known in METRICS.items():
        means = [comparison.mean(variant, metric) for variant in comparison.variants]
        if any(mean is not None for mean in means):
            label = "perplexity" if metric == "nll_per_token" else known.label
            rows.append((label, ["" if mean is None else number(metric, mean) for mean in means]))
        if metric == "abstention":
            rows += _silence_rows(comparison)
    counts = skill_counts(comparison)
    if counts:
        cells = ["{}/{}".format(*counts[variant]) if variant in counts else "" for variant in comparison.variants]
        rows.append(("general skill", cells))
    return rows


def _silence_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Precision and recall of saying that the documents do not tell; nothing where every question has an answer."""
    found = [silence(comparison, variant) for variant in comparison.variants]
    if not any(unanswerable for _, _, _, unanswerable in found):
        return []
    return [
        ("  precision", ["" if row[0] is None else f"{row[0]:.2f}" for row in found]),
        ("  recall", ["" if row[1] is None else f"{row[1]:.2f}" for row in found]),
    ]
