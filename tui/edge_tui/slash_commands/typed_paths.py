"""Paths as people and terminals write them: begun ones completed, dropped ones recognised."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_MOST = 50
"""Entries of a folder that are offered at most."""

_WORD = re.compile(
    r"""\s*(?:
        '(?P<single>(?:[^']|'\\'')*)'        # a shell's single quotes, an apostrophe written '\''
      | "(?P<double>[^"]*)"
      | (?P<bare>(?:\\.|[^\s\\'"])(?:\\.|[^\s\\])*)
    )(?=\s|$)""",
    re.VERBOSE,
)
_ABSOLUTE = re.compile(r"/(?!/)|~/|[A-Za-z]:[\\/]|\\\\")
_UNQUOTED = re.compile(r"(?:\\.|[^\s\\])++")


def fitting(begun: str, most: int = _MOST) -> list[str]:
    """`begun` completed to the entries of its folder that fit, in order; a folder ends in a slash.

    Names that begin with a dot are offered to whoever typed the dot. Looks at the disk.
    """
    if not begun:
        return []
    if begun == "~":
        return ["~/"]
    folder, start = os.path.split(begun)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = heapq.nsmallest(
                most,
                (
                    (entry.name, entry.is_dir())
                    for entry in entries
                    if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith("."))
                ),
            )
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return []
    stem = begun[: len(begun) - len(start)]
    return [f"{stem}{name}{'/' if is_folder else ''}" for name, is_folder in found]


def fitting_last(line: str) -> list[str]:
    """As `fitting`, for the last of the paths on a line; one that stands alone may hold blanks as they are."""
    whole = fitting(line)
    if whole or " " not in line:
        return whole
    last = next((found[0] for found in _UNQUOTED.finditer(line) if found.end() == len(line)), "")
    head = line[: len(line) - len(last)]
    return [head + re.sub(r"([\s\\'\"])", r"\\\1", each) for each in fitting(re.sub(r"\\(.)", r"\1", last))]


def from_url(word: str) -> str:
    """The path of a `file:` URL as file managers hand them over; anything else is returned as it is."""
    if not word.startswith("file:"):
        return word
    path = unquote(urlsplit(word).path)
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path


def dropped(text: str) -> tuple[str, ...]:
    """The paths, if `text` can be nothing but files that were dropped on the terminal; else none.

    Terminals paste them quoted, with backslashes, or as `file:` URLs, one or many. Does not look at the disk.
    """
    if not re.match(r"\s*['\"]?(?:file:///|~/|/|[A-Za-z]:[\\/]|\\\\)", text):
        return ()
    if _plain_path(text):
        return (text.strip(),)
    words = []
    at, end = 0, len(text.rstrip())
    while at < end:
        word = _WORD.match(text, at)
        if word is None:
            return ()
        at = word.end()
        if word["single"] is not None:
            path = word["single"].replace("'\\''", "'")
        elif word["double"] is not None:
            path = word["double"]
        else:
            path = from_url(word["bare"]) if word["bare"].startswith("file:") else re.sub(r"\\(.)", r"\1", word["bare"])
        path = from_url(path)
        if not _ABSOLUTE.match(path):
            return ()
        words.append(path)
    return tuple(words)


def _plain_path(text: str) -> bool:
    """Windows' terminals paste one path as it is, backslashes and blanks included."""
    return bool(re.match(r"\s*(?:[A-Za-z]:\\|\\\\)", text)) and "\n" not in text.strip()


@dataclass(frozen=True, slots=True)
class Drop:
    """Dropped paths after a look at the disk."""

    there: tuple[Path, ...]
    missing: tuple[str, ...]
    text: str
    """As it was pasted."""

    @property
    def certain(self) -> bool:
        """Whether these are files indeed. A pasted `/help` or `/etc/what` is a question as long as nothing is there."""
        return bool(self.there) or self.text.lstrip().startswith(("file:", "'", '"'))


def look_up_drop(paths: Sequence[str], text: str) -> Drop:
    """Which of the dropped paths exist. Looks at the disk."""
    there, missing = [], []
    for each in paths:
        path = Path(os.path.expanduser(each))
        try:
            os.lstat(path)
        except PermissionError:  # adding it tells so
            there.append(path.absolute())
        except (OSError, ValueError):
            missing.append(each)
        else:
            there.append(path.absolute())
    return Drop(tuple(there), tuple(missing), text)


def named(paths: Sequence[object], most: int = 5) -> Iterator[str]:
    """The first few of many paths, a line each, and how many more there are."""
    for path in paths[:most]:
        yield str(path)
    if len(paths) > most:
        yield f"and {len(paths) - most:,} more"
