"""What came of adding documents, and what of an index is outdated, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tui.rendering.units import short_path
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge_index.records import AddReport, Failure, Outdated

_SHOWN = 5
"""Files that are named of those that share a reason."""

_KINDS = 8
"""Suffixes that are counted one by one."""


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
            yield f"{what} {short_path(path)}"


def format_failures(failures: Sequence[Failure]) -> list[str]:
    """What could not be read, those with one reason together."""
    lines = []
    for reason, paths in _grouped(failures).items():
        if len(paths) == 1:
            lines.append(visible_name(f"not indexed: {_named(reason, paths[0])}"))
        else:
            lines.append(visible_name(f"not indexed, {len(paths)} files: {_named(reason, 'each')}") + _names(paths))
    return lines


def format_files(report: AddReport) -> Iterator[str]:
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
        yield visible_name(f"{short_path(paths[0])}: {reason}") + (
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
    return "".join(f"\n    {line}" for line in [*map(short_path, paths[:_SHOWN]), *more])


def format_outdated(found: Outdated) -> str:
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
