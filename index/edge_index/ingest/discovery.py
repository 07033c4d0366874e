"""Which files a path means: folders are walked, patterns and .gitignore kept, all that is left alone told."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from edge_index.ingest.ignore_patterns import Patterns
from edge_index.loaders import supported
from edge_index.records import Failure

_Rules: TypeAlias = list[tuple[str, Patterns]]
"""Folders and their .gitignore, the outermost first."""


@dataclass(slots=True)
class Found:
    files: list[Path] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    """The folders among the given paths."""
    skipped: list[Path] = field(default_factory=list)
    """Files in those folders whose format is not read."""
    failed: list[Failure] = field(default_factory=list)
    left: list[Failure] = field(default_factory=list)
    """Links to folders, dead links, devices and their like, and why each was left alone."""
    ignored: int = 0
    """Files and folders that a pattern or a .gitignore leaves out."""


@dataclass(frozen=True, slots=True)
class FileFilter:
    """Which files of a folder are meant: patterns as .gitignore has them, from the given folder on.

    A file is taken when it fits one of `include`, where there are any, and none of `exclude`; `ignore` also
    leaves out what the .gitignore files say. A file that is given by itself is always taken.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: bool = True


def absolute(path: Path | str) -> Path:
    """The name under which a file stands in the index, however it was given."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def find_files(paths: Iterable[Path | str], file_filter: FileFilter | None = None) -> Found:
    """Absolute paths, each once, in order. Links to folders are not followed, so no loop is possible."""
    found = Found()
    for path in map(absolute, paths):
        try:
            _sort_in(path, found, file_filter or FileFilter())
        except OSError as error:  # a folder on the way that is closed, a name that is too long
            reason = f"{path} cannot be reached: {error.strerror}; correct it, or see to its permissions"
            found.failed.append(Failure(str(path), reason))
    found.files = list(dict.fromkeys(found.files))
    return found


def _sort_in(path: Path, found: Found, file_filter: FileFilter) -> None:
    if path.is_dir():
        found.roots.append(path)
        _Walk(path, found, file_filter).run()
    elif not path.exists():
        found.failed.append(Failure(str(path), f"{path} is not there; check the spelling"))
    elif not path.is_file():
        found.failed.append(Failure(str(path), f"{path} is neither a file nor a folder"))
    else:
        found.files.append(path)


class _Walk:
    """One folder with all that lies below it."""

    def __init__(self, root: Path, found: Found, file_filter: FileFilter) -> None:
        self._root = str(root)
        self._found = found
        self._include = Patterns(file_filter.include)
        self._exclude = Patterns(file_filter.exclude)
        self._ignore = file_filter.ignore
        self._rules: _Rules = _rules_above(root) if file_filter.ignore else []
        levels = [str(folder) for folder in (root, *root.parents)]
        above = [(level, [rule for rule in self._rules if len(rule[0]) < len(level)]) for level in levels]
        self._ignored = any(_is_ignored(level, True, rules) for level, rules in above)

    def run(self) -> None:
        waiting = [(self._root, self._rules)]
        while waiting:
            waiting += reversed(self._folder(*waiting.pop()))

    def _folder(self, folder: str, rules: _Rules) -> list[tuple[str, _Rules]]:
        """Sort what lies in a folder; the folders in it, with the rules that hold there."""
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            reason = f"{folder} cannot be opened: {error.strerror}"
            self._found.failed.append(Failure(_printable(folder), _printable(reason)))
            return []
        if self._ignore and any(entry.name == ".gitignore" for entry in listed):
            rules = rules + _read_rules(folder)
        inner = []
        for entry in listed:
            if entry.name.startswith("."):
                continue
            kind = self._kind(entry)
            if kind is None:
                continue
            if self._left_out(entry.path, kind == "folder", rules):
                self._found.ignored += 1
            elif kind == "folder":
                inner.append((entry.path, rules))
            else:
                path = Path(entry.path)
                (self._found.files if supported(path) else self._found.skipped).append(path)
        return inner

    def _kind(self, entry: os.DirEntry[str]) -> str | None:
        """`folder`, `file`, or None for what is neither, with a word in the report."""
        try:
            if entry.is_dir(follow_symlinks=False):
                return "folder"
            if entry.is_file():
                return "file"
            link = entry.is_symlink()
            mode = entry.stat().st_mode
        except OSError as error:  # a link to nowhere or round in a circle
            self._leave(entry.path, f"{entry.path} leads nowhere ({error.strerror})")
            return None
        if link and stat.S_ISDIR(mode):
            self._leave(entry.path, f"{entry.path} is a link to a folder; give that folder by its own name")
        else:
            self._leave(entry.path, f"{entry.path} is {_special(mode)} and no file")
        return None

    def _leave(self, path: str, reason: str) -> None:
        self._found.left.append(Failure(_printable(path), _printable(reason)))

    def _left_out(self, path: str, folder: bool, rules: _Rules) -> bool:
        inside = os.path.relpath(path, self._root) if self._exclude or self._include else ""
        if self._exclude and self._exclude.cover(_slashes(inside), folder):
            return True
        if self._include and not folder and not self._include.cover(_slashes(inside), folder):
            return True
        return self._ignored or _is_ignored(path, folder, rules)


def _is_ignored(path: str, folder: bool, rules: _Rules) -> bool:
    """Whether the rules leave out `path` itself; those that stand nearest decide."""
    for base, patterns in reversed(rules):
        # relpath is slow, and `path` always lies below `base`.
        verdict = patterns.verdict(_slashes(path[len(base) :]).lstrip("/"), folder)
        if verdict is not None:
            return verdict
    return False


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")


def _read_rules(folder: str) -> _Rules:
    try:
        text = Path(folder, ".gitignore").read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError:
        return []  # git, too, goes on without
    patterns = Patterns(line.removesuffix("\r") for line in text.split("\n"))
    return [(folder, patterns)] if patterns else []


def _rules_above(root: Path) -> _Rules:
    """The rules of the folders around `root`, up to the top of its repository; none where it is in no repository."""
    found: _Rules = []
    for folder in (root, *root.parents):
        if folder != root:
            found = _read_rules(str(folder)) + found
        if (folder / ".git").exists():
            return found
    return []


def _special(mode: int) -> str:
    for name, is_one in (("a pipe", stat.S_ISFIFO), ("a socket", stat.S_ISSOCK)):
        if is_one(mode):
            return name
    return "a device"


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
