"""Cache and settings of older versions, which kept them in the data directory, move to the platform's own places."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path

from edge.system import paths
from edge.system.file_lock import file_lock

_WAIT = 10.0
"""Seconds to wait for another process that moves them."""


def move_old_places() -> list[str]:
    """Move them, unless there is nothing to be moved; what could not be, in sentences for people.

    May be killed at any point and run by several processes: what is in the new place is whole, and nothing leaves the
    old one before that. The settings are never overwritten. What another version has open stays open.
    """
    home = paths.home()
    moves = [(home / "config.toml", paths.config_dir() / "config.toml", _move_config)]
    moves += [(home / "cache", paths.cache_dir(), _move_cache)]
    waiting = [move for move in moves if os.path.lexists(move[0]) and not _same(move[0], move[1])]
    problems: list[str] = []
    if not waiting:
        return problems
    try:
        with file_lock(home / "moving.lock", _WAIT):
            for old, new, move in waiting:
                try:
                    if os.path.lexists(old):
                        problems += move(old, new)
                except OSError as error:
                    problems.append(f"{old} could not be moved to {new}: {error.strerror or error}")
            with suppress(OSError):
                (home / "moving.lock").unlink()
    except OSError:  # another one is at it, or nothing can be written here: the old settings are read, see paths
        pass
    return problems


def _same(old: Path, new: Path) -> bool:
    """Whether both names lead to one place: the platform has one folder for both, or somebody has linked them."""
    return os.path.realpath(old) == os.path.realpath(new) or (
        old.exists() and new.exists() and os.path.samefile(old, new)
    )


def _move_config(old: Path, new: Path) -> list[str]:
    if not os.path.lexists(new):
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.is_symlink():
            new.symlink_to(os.path.realpath(old))
        else:
            _copy_whole(old, new)
    if filecmp.cmp(old, new, shallow=False):
        old.unlink()
        return []
    return [f"{old} is not read any more, because there is {new}; take over what you need and delete the old one"]


def _copy_whole(old: Path, new: Path) -> None:
    """A copy that is there as a whole or not at all, on the disk itself; a file that is there by now stays."""
    part = _part(new)
    shutil.copy2(old, part)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            os.link(part, new)
    except OSError:  # a file system without hard links
        part.rename(new)
    part.unlink(missing_ok=True)


def _move_cache(old: Path, new: Path) -> list[str]:
    """Each index, each model's KV caches, each encoder as a whole; what is in both places is dropped in the old one."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if old.is_symlink() and not os.path.lexists(new):
        new.symlink_to(os.path.realpath(old))
        old.unlink()
        return []
    new.mkdir(exist_ok=True)
    for source in old.iterdir():
        if source.is_dir() and not source.is_symlink():
            (new / source.name).mkdir(exist_ok=True)
            for inner in source.iterdir():
                _move(inner, new / source.name / inner.name)
        else:
            _move(source, new / source.name)
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old)
    return []


def _move(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = _part(target)
        _remove(part)
        try:
            _copy(source, part)
            part.rename(target)
        finally:
            _remove(part)


def _copy(source: Path, part: Path) -> None:
    """To another file system."""
    if source.is_symlink():
        part.symlink_to(os.path.realpath(source))
        return
    files = [source, *source.rglob("*")]
    if sum(file.lstat().st_size for file in files) > shutil.disk_usage(part.parent).free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}; delete it, what is in it is made again when needed")
    if source.is_dir():
        # An index may be open elsewhere; SQLite copies it, with what stands in its log.
        without = shutil.ignore_patterns("*.sqlite-*", "*.lock")
        shutil.copytree(source, part, symlinks=True, ignore=without, copy_function=_copy_file)
    else:
        shutil.copy2(source, part)


def _copy_file(source: str, target: str) -> None:
    if not source.endswith(".sqlite"):
        shutil.copy2(source, target)
        return
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(source)) as whole, closing(sqlite3.connect(target)) as copy:
        whole.backup(copy)


def _part(path: Path) -> Path:
    """Where a copy is made; only one process does at a time."""
    return path.with_name(f".{path.name}.moving")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
