"""What `edge data` found and did, for people."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from edge_tui.cli.output import print_table, status, warn
from edge_tui.rendering.units import format_size, short_path
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge_converters.data.check import Check
    from edge_converters.data.estimate import TuningEstimate
    from edge_converters.data.records import DataFile, Finding
    from edge_converters.data.writer import Split

_OF_A_KIND = 5
_INDENT = 9
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_check(found: Check, everything: bool) -> None:
    """Files, findings (a few of each kind, unless `everything`), a sum and the estimate."""
    print_files((*found.files, *found.test_files))
    click.echo()
    _print_findings(found.findings, everything)
    if found.estimate is not None:
        _print_estimate(found.estimate)
    click.echo(_sum(found))
    if found.estimate is None and found.examples:
        status("With --base MODEL also: tokens, examples that are too long, time and memory of the training.")


def print_files(files: Sequence[DataFile]) -> None:
    rows = [
        (short_path(file.path), f"{file.format} (forced)" if file.forced else file.format, f"{file.examples:,}")
        for file in files
    ]
    print_table(("FILE", "FORMAT", "EXAMPLES"), rows)


def print_split(done: Split, wanted: float) -> None:
    share = done.test / max(1, done.train + done.test)
    print_table(
        ("FILE", "EXAMPLES"),
        [(short_path(done.train_path), f"{done.train:,}"), (short_path(done.test_path), f"{done.test:,}")],
    )
    if done.largest > 1:
        click.echo(
            f"{done.train + done.test:,} examples in {done.groups:,} groups that are not parted; "
            f"the largest has {done.largest:,}"
        )
    if abs(share - wanted) > max(0.2 * wanted, 1 / max(1, done.train + done.test)):
        status(f"{share:.1%} are for the test and not {wanted:.1%}: groups of examples that are alike stay whole.")


def warn_of(left_out: Iterable[Finding]) -> None:
    for number, finding in enumerate(left_out):
        if number == _OF_A_KIND:
            warn("… and more; `edge data check --all` lists them")
            return
        warn(f"left out: {_line(finding)}")


def _print_findings(findings: Sequence[Finding], everything: bool) -> None:
    shown: Counter[tuple[str, str]] = Counter()
    totals = Counter((finding.severity, finding.kind) for finding in findings)
    for finding in findings:
        key = (finding.severity, finding.kind)
        shown[key] += 1
        if everything or shown[key] <= _OF_A_KIND:
            click.secho(f"{finding.severity:<8} ", fg=_COLOURS[finding.severity], nl=False)
            click.echo(_folded(_line(finding), _INDENT))
        if not everything and shown[key] == totals[key] > _OF_A_KIND:
            click.echo(f"{'':<{_INDENT}}… and {totals[key] - _OF_A_KIND:,} more ({finding.kind}); --all lists them")
    if findings:
        click.echo()


def _folded(text: str, indent: int) -> str:
    """On a terminal, cut at words and set in under the first line; elsewhere one line, for tools that read lines."""
    if not sys.stdout.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns - indent)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{'':<{indent}}".join(lines)


def _line(finding: Finding) -> str:
    where = short_path(finding.source) if finding.source is not None else ""
    where = f"{where}:{finding.line}" if finding.line is not None else where
    return visible_name(f"{where} {finding.message}".strip())


def _print_estimate(estimate: TuningEstimate) -> None:
    click.echo(
        f"tokens    {estimate.tokens:,}, of which the assistant's, which are learnt, {estimate.learnt:,}; "
        f"the longest example has {estimate.longest:,}"
    )
    click.echo(
        f"training  {estimate.steps:,} steps of {estimate.batch} examples, {estimate.epochs:g} times through all"
    )
    for method in estimate.methods:
        fits = "" if method.fits else f": more than the {format_size(estimate.available_bytes)} that are free"
        takes = f"about {_duration(method.seconds)} and {format_size(method.memory_bytes)} of memory"
        click.echo(f"{method.name:<9} {takes}, rank {estimate.rank}{fits}")
    if estimate.methods:
        status(
            f"An estimate for this machine's processor, from {estimate.rate / 1e9:,.0f} billion operations a second "
            "that were measured a moment ago."
        )
    click.echo()


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.95 * length:
            return f"{seconds / length:.0f} {unit}" if seconds >= 9.5 * length else f"{seconds / length:.1f} {unit}"
    return f"{max(1, round(seconds))} seconds"


def _sum(found: Check) -> str:
    counts: Counter[str] = Counter(finding.severity for finding in found.findings)
    parts = [f"{counts[key]:,} {key}{'' if counts[key] == 1 else 's'}" for key in _COLOURS if counts[key]]
    said = ", ".join(parts) if parts else "nothing to complain about"
    return f"{found.examples:,} examples: {said}"
