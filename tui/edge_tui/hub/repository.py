"""`edge models pull NAME`: a model from the Hugging Face hub, every file resumed where it was cut and checked by hash.

With `edge_tui.hub.starter` the only room with a network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from edge.engines.onnx.genai_config import FILE, load_genai_config
from edge.errors import DownloadError, ModelError, StorageError, UsageError
from edge.system import paths
from edge.system.suggestions import did_you_mean
from edge_tui.hub.catalogue import CATALOGUE, look_up
from edge_tui.hub.client import Hub, online
from edge_tui.hub.selection import HubSelection, RemoteFile, Repository, choose
from edge_tui.hub.starter import CHUNK, PullProgress, Report, nobody, refused

STAGING = ".{}.pulling"
"""The folder, inside the models directory, in which a model comes together; the next pull goes on with it."""
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What arrived: `path` is a GGUF file or a folder; `files` are paths in the repository at `commit`."""

    name: str
    path: str
    format: str
    bytes: int
    repository: str
    commit: str
    licence: str | None
    files: tuple[str, ...]


def pull(
    name: str,
    models_dir: Path,
    *,
    pattern: str | None = None,
    quantisation: str | None = None,
    revision: str | None = None,
    save_as: str | None = None,
    progress: Report | None = None,
) -> Pulled:
    """Put a model into `models_dir`; it appears there whole or not at all.

    `name` is OWNER/NAME or a short name of the catalogue, either with `:QUANTISATION` behind it; `pattern` and
    `quantisation` choose among files (`edge_tui.hub.selection.choose`). What is there already and right is not fetched.
    HF_ENDPOINT and HF_TOKEN hold as they do for huggingface_hub. Raises DownloadError when the hub does not give what
    it promises, StorageError when the disk refuses, UsageError for a name that is none, MissingExtra.
    """
    report = progress or nobody
    owner_and_name, files, quantisation = resolve(name, quantisation)
    with online() as hub:
        repository = hub.look(owner_and_name, revision)
        selection = choose(repository, pattern=pattern or files, quantisation=quantisation, name=save_as)
        paths.ensure_dir(models_dir)
        try:
            with _held(models_dir / STAGING.format(selection.name), report) as staging:
                _fetch_all(hub, repository, selection, models_dir, staging, report)
        except OSError as error:
            raise refused(models_dir, error) from error
    return Pulled(
        name=selection.name,
        path=str(models_dir / selection.target),
        format=selection.format,
        bytes=selection.bytes,
        repository=repository.name,
        commit=repository.commit,
        licence=repository.licence,
        files=tuple(file.path for file, _ in selection.files),
    )


def resolve(name: str, quantisation: str | None) -> tuple[str, str | None, str | None]:
    """(repository, pattern of files, quantisation) of what a person calls a model. Raises UsageError."""
    known = look_up(name)
    if known:
        return known[0].repository, known[0].files, quantisation or known[1]
    repository, _, behind = name.removeprefix("https://huggingface.co/").removeprefix("hf.co/").partition(":")
    if repository.count("/") != 1 or not all(repository.split("/")):
        short = ", ".join(entry.name for entry in CATALOGUE)
        meant = did_you_mean(name, ["starter", *(known.name for known in CATALOGUE)])
        raise UsageError(f"{name!r} is neither OWNER/NAME of the Hugging Face hub nor one of: starter, {short}{meant}")
    return repository, None, quantisation or behind or None


def discard(models_dir: Path, name: str) -> int | None:
    """Delete what an interrupted pull of `name` left; its bytes, or None when there is nothing."""
    staging = models_dir / STAGING.format(name)
    if not staging.is_dir():
        return None
    freed = _bytes_in(staging)
    shutil.rmtree(staging)
    return freed


@contextmanager
def _held(staging: Path, report: Report) -> Iterator[Path]:
    """`staging`, ours alone until the end: who comes second waits, and finds the model there.

    It is gone afterwards, unless something in it can be gone on with.
    """
    from filelock import FileLock, Timeout

    lock, waiting = FileLock(staging / _LOCK), False
    while not lock.is_locked:
        staging.mkdir(exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):  # held, or just gone with the whole folder
            if not waiting:
                report(PullProgress("waiting for another pull", staging.name, 0, 0))
            waiting = True
            sleep(0.2)
    try:
        yield staging
        shutil.rmtree(staging, ignore_errors=True)
    finally:
        if not _bytes_in(staging):
            shutil.rmtree(staging, ignore_errors=True)
        lock.release()


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _fetch_all(
    hub: Hub, repository: Repository, selection: HubSelection, models_dir: Path, staging: Path, report: Report
) -> None:
    missing = _missing(selection, models_dir, report)
    if not missing:
        return
    _prune(staging, missing)
    needed = sum(file.bytes for file, _ in missing) - _bytes_in(staging)
    free = shutil.disk_usage(models_dir).free
    if free < needed:
        raise StorageError(
            f"the disk of {models_dir} has {free / 1e6:.0f} MB free and {selection.name} needs {needed / 1e6:.0f} MB "
            "more; free some space and run it again"
        )
    # Before gigabytes are fetched it is known whether the configuration names code or files elsewhere.
    for file, target in sorted(missing, key=lambda each: Path(each[1]).name != FILE):
        _fetch_one(hub, repository, file, staging / target, report)
        if Path(target).name == FILE:
            _check_config(staging / target, repository)
    if selection.format == "gguf":
        for _, target in missing:
            os.replace(staging / target, models_dir / target)
    else:
        os.rename(staging / selection.target, models_dir / selection.target)


def _check_config(path: Path, repository: Repository) -> None:
    """Raises ModelError or DownloadError for a genai_config.json that must not be loaded, which is deleted."""
    try:
        load_genai_config(path)
    except (ModelError, ValueError) as error:
        path.unlink()
        raise DownloadError(f"{repository.name} was not fetched: {error}") from error


def _missing(selection: HubSelection, models_dir: Path, report: Report) -> list[tuple[RemoteFile, str]]:
    """What is not there yet. Raises StorageError where something else has the name."""
    missing = []
    for file, target in selection.files:
        path = models_dir / target
        if not path.is_file():
            missing.append((file, target))
        elif not _is_right(path, file, report):
            raise _taken(models_dir / selection.target, selection)
    whole_folder = selection.format != "gguf" and (models_dir / selection.target).exists()
    if missing and whole_folder:
        raise _taken(models_dir / selection.target, selection)
    return missing


def _taken(path: Path, selection: HubSelection) -> StorageError:
    return StorageError(
        f"{path} is there already and is something else; choose another name with --name, or run: "
        f"edge models remove {selection.name}"
    )


def _partial(path: Path, file: RemoteFile) -> Path:
    """Where the beginning of `file` grows; another content of that name is never taken for it."""
    return path.with_name(f"{path.name}.{(file.sha256 or file.blob or 'unknown')[:16]}.partial")


def _prune(staging: Path, files: list[tuple[RemoteFile, str]]) -> None:
    """Remove what an earlier pull, of other files or another revision, left in `staging`."""
    keep = {staging / _LOCK}
    for file, target in files:
        keep |= {staging / target, _partial(staging / target, file)}
    for path in list(staging.rglob("*")):
        if path.is_file() and path not in keep:
            path.unlink()


def _fetch_one(hub: Hub, repository: Repository, file: RemoteFile, path: Path, report: Report) -> None:
    """Make `path` hold `file`, checked."""
    if path.is_file() and _is_right(path, file, report):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path, file)
    with partial.open("ab") as out:
        if out.tell() > file.bytes:
            out.truncate(0)
            out.seek(0)
        hub.fetch(repository, file, out, report)
        out.flush()
        os.fsync(out.fileno())
    if not _is_right(partial, file, report):
        partial.unlink()
        raise DownloadError(
            f"{file.path} came from {hub.host} with other bytes than {repository.name} says (its SHA-256 differs); "
            "they were deleted: run it again"
        )
    os.replace(partial, path)


def _is_right(path: Path, file: RemoteFile, report: Report) -> bool:
    """Whether size and hash are those that the hub says: SHA-256, or for small files git's SHA-1 of a blob."""
    if path.stat().st_size != file.bytes:
        return False
    expected = file.sha256 or file.blob
    if expected is None:
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    done = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            report(PullProgress("checking", file.path, done, file.bytes))
    return digest.hexdigest() == expected
