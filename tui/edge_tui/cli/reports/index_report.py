"""What the commands of an index tell: what came of a run, what is outdated, a span in its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.errors import UsageError
from edge_tui.cli.output import short
from edge_tui.terminal import printable, visible_name

if TYPE_CHECKING:
    from edge.types import AddReport, Failure, Outdated
    from edge_index import Index

STALE = {"changed": "the file has changed since", "gone": "the file is gone"}

_SHOWN = 5
"""Files that are named of those that share a reason."""

_KINDS = 8
"""Suffixes that are counted one by one."""

_SPAN = re.compile(r"(.+):(\d+)-(\d+)")


def summary(report: AddReport) -> str:
    moved = f"{len(report.moved)} moved, " if report.moved else ""
    return (
        f"{len(report.added)} added, {len(report.updated)} updated, {len(report.unchanged)} unchanged, "
        f"{moved}{len(report.removed)} removed, {len(report.failed)} failed; "
        f"{report.passages:,} passages written, {report.embedded:,} of them encoded"
    )


def changes(report: AddReport) -> Iterator[str]:
    """A line for each file that is not as it was."""
    for what in ("added", "updated", "moved", "removed"):
        for path in getattr(report, what):
            yield f"{what} {short(path)}"


def told_about_failures(failures: Sequence[Failure]) -> list[str]:
    """What could not be read, those with one reason together."""
    told = []
    for reason, paths in _grouped(failures).items():
        if len(paths) == 1:
            told.append(visible_name(f"not indexed: {_named(reason, paths[0])}"))
        else:
            told.append(visible_name(f"not indexed, {len(paths)} files: {_named(reason, 'each')}") + _names(paths))
    return told


def told_about_files(report: AddReport) -> Iterator[str]:
    """What of the folders was left alone, and why, in sentences."""
    if report.skipped:
        suffixes = Counter(Path(path).suffix.lower() or "without a suffix" for path in report.skipped)
        often = sorted(suffixes.items(), key=_often)
        counted = ", ".join(f"{count} {suffix}" for suffix, count in often[:_KINDS])
        rest = f" and {sum(count for _, count in often[_KINDS:])} of other kinds" if often[_KINDS:] else ""
        yield f"{len(report.skipped)} files were left alone, because edge does not read their format: {counted}{rest}"
    for reason, paths in _grouped(report.left).items():
        alone = len(paths) == 1
        yield visible_name(f"left alone: {_named(reason, paths[0] if alone else 'each')}") + (
            "" if alone else _names(paths)
        )
    for reason, paths in _grouped(report.notes).items():
        yield visible_name(f"{short(paths[0])}: {reason}") + (
            f" (and {len(paths) - 1} more files)" if paths[1:] else ""
        )
    if report.ignored:
        yield f"{report.ignored} files and folders are left out by a pattern or a .gitignore (--no-ignore reads those)"


def _often(counted: tuple[str, int]) -> tuple[int, str]:
    """Sorts the most frequent first."""
    return -counted[1], counted[0]


def _grouped(failures: Sequence[Failure]) -> dict[str, list[str]]:
    """Reasons without the name of their file -> the files."""
    groups: dict[str, list[str]] = {}
    for failure in failures:
        groups.setdefault(failure.reason.replace(failure.path, "\0"), []).append(failure.path)
    return groups


def _named(reason: str, name: str) -> str:
    return reason.replace("\0", name) if "\0" in reason else f"{name}: {reason}"


def _names(paths: Sequence[str]) -> str:
    more = [f"and {len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    return "".join(f"\n    {line}" for line in [*map(short, paths[:_SHOWN]), *more])


def outdated(found: Outdated) -> str:
    """What is to be made afresh, and how long it takes."""
    ready = f" ({found.done:,} documents are ready from an earlier try)" if found.done else ""
    own = "" if found.searchable else ", with its own encoder"
    return (
        f"{found.documents:,} documents with {found.passages:,} passages are to be made afresh, because "
        f"{found.reason}; that takes about {_duration(found.seconds)}{ready}. "
        f"Until then the index can be searched as it is{own}."
    )


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} seconds"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A span of a document's stored text: `before + text + after` stand there literally, `text` at `start:end`."""

    document: str
    sha256: str
    stale: str | None
    page: int | None
    heading: str | None
    start: int
    end: int
    before: str
    text: str
    after: str


def excerpt(index: Index, place: str, context: int) -> Excerpt:
    """The span that DOCUMENT:START-END names, or all of DOCUMENT. Raises KnowledgeError and UsageError."""
    from edge.errors import KnowledgeError

    span = _SPAN.fullmatch(place)
    try:
        path, span = index.find_document(place), None  # a name may look like a span
    except KnowledgeError:
        if span is None:
            raise
        path = index.find_document(span[1])
    text = index.text(path)
    start, end = (int(span[2]), int(span[3])) if span else (0, len(text))
    if not start <= end <= len(text):
        raise UsageError(f"{path} has the positions 0 to {len(text)}; {start}-{end} is no span of it")
    inside = index.passages(path, start, max(end, start + 1))
    page, heading = (inside[0].page, inside[0].heading) if inside and span else (None, None)
    (sha256,) = [document.sha256 for document in index.documents() if document.path == path]
    before, after = text[max(0, start - context) : start], text[end : end + context]
    stale = index.stale([path]).get(path)
    return Excerpt(path, sha256, stale, page, heading, start, end, before, text[start:end], after)


def print_excerpt(found: Excerpt) -> None:
    page = f" · p. {found.page}" if found.page is not None else ""
    heading = f" · {found.heading}" if found.heading else ""
    since = f" · {STALE[found.stale]}, this is what was read" if found.stale else ""
    click.secho(visible_name(f"{short(found.document)}{page} · {found.start}–{found.end}{heading}{since}"), fg="cyan")
    whole = not (found.before or found.after)
    # Marks that are seen without colours, too.
    marked = found.text if whole else f"»{found.text}«"
    click.echo(printable(found.before), nl=False)
    click.secho(printable(marked), nl=False, bold=not whole)
    click.echo(printable(found.after))
