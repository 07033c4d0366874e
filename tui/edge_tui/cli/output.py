"""How commands write: records as JSON or a table on standard output, progress on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from edge.errors import UsageError
from edge_tui.terminal import draws, message, unfiltered, visible_name
from edge_tui.verbosity import is_quiet, log_said

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def print_json(value: object) -> None:
    """One JSON value; records become objects with their field names."""
    click.echo(json.dumps(to_jsonable(value), ensure_ascii=False, indent=2))


def to_jsonable(value: object) -> Any:
    """Records, and lists of them, as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    return value


def status(sentence: str) -> None:
    """A word about what is going on, for people: to standard error, unless --quiet."""
    log_said(sentence)
    if not is_quiet():
        click.secho(message(sentence), err=True, dim=True)


def warn(sentence: str) -> None:
    """Something that went wrong beside what went right: to standard error."""
    log_said(sentence)
    click.secho(message(sentence), err=True, fg="yellow")


@contextmanager
def passing() -> Iterator[Callable[[str | None], None]]:
    """A line on standard error that says what is going on now and vanishes; None erases it early."""
    shown = False
    visible = draws(sys.stderr) and not is_quiet()

    def show(text: str | None) -> None:
        nonlocal shown
        if visible and (text or shown):
            terminal = unfiltered(sys.stderr)
            terminal.write(f"\r\x1b[K{visible_name(text or '')}")
            terminal.flush()
            shown = bool(text)

    try:
        yield show
    finally:
        show(None)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is never padded."""
    cells = [[visible_name(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.secho("  ".join(padded).rstrip(), bold=number == 0)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost, unless `yes`; without a terminal to ask at, that is wrong usage."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; add --yes")
    if not click.confirm(question, err=True):
        raise UsageError("nothing was deleted")


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Takes (stage, done, total) and shows a bar for each stage; without a terminal, one line when it begins.

    From a million on, the numbers are bytes.
    """
    with progress_bar(of_bytes=True) as bar:
        begun: dict[str, TaskID | None] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in begun:
                begun[stage] = bar.add_task(stage, total=total) if bar is not None else None
                if bar is None:
                    status(stage)
            task = begun[stage]
            if bar is not None and task is not None:
                bar.update(task, completed=done, total=total)

        yield show


@contextmanager
def progress_bar(*, of_bytes: bool = False, remaining: bool = True) -> Iterator[Progress | None]:
    """A rich progress display on standard error; None where none can be drawn, or with --quiet.

    `remaining`: rich's own guess of the time left, for steps that take about as long as one another.
    """
    if not draws(sys.stderr) or is_quiet():
        yield None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    from edge_tui.safe_console import SafeConsole

    class Amount(MofNCompleteColumn):
        """Bytes where they are counted, else a plain count."""

        def render(self, task: Task) -> Text:
            return _bytes.render(task) if of_bytes and (task.total or 0) >= 1e6 else super().render(task)

    class Description(TextColumn):
        """In one row, whatever a file name holds."""

        def render(self, task: Task) -> Text:
            return Text(visible_name(task.description))

    _bytes = DownloadColumn()
    columns = [Description("{task.description}", markup=False), BarColumn(), Amount()]
    columns += [TimeRemainingColumn()] if remaining else []
    with Progress(*columns, console=SafeConsole(sys.stderr), transient=True) as progress:
        yield progress
