"""How a conversion puts its result on the disk: whole or not at all, with a manifest of what was made from what."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from edge.errors import StorageError
from edge.system.checksum import sha256_of
from edge_converters.types import AdapterSource, Export
from edge_converters.weights.checkpoint import read_json

_PACKAGES = (
    "edge-expert", "torch", "transformers", "peft", "gguf", "llama-cpp-python", "onnx", "onnxruntime",
    "onnxruntime-genai", "optimum-onnx", "sentence-transformers",
)  # fmt: skip
_PARTIAL = ".partial-"


@contextmanager
def atomic_output(out: Path, *, needs: int = 0) -> Iterator[Path]:
    """A temporary path beside `out`, to write a file or make a folder at; it becomes `out` when all went well.

    A file replaces an older file of that name; a folder replaces an older one only where it is empty or was
    published by us (it has a manifest). `needs` is how many bytes must be free. What a killed run left
    beside `out` is removed. Raises StorageError.
    """
    out = Path(os.path.abspath(out))
    _check_target(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out)
        _check_free_space(out.parent, needs)
        holder = Path(tempfile.mkdtemp(prefix=f".{out.name}{_PARTIAL}{os.getpid()}-", dir=out.parent))
    except OSError as error:
        raise StorageError(f"{out.parent} cannot be written: {error.strerror}; choose another place") from error
    partial = holder / out.name
    try:
        yield partial
        _put_in_place(partial, out, holder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(_disk_full_message(out.parent, needs)) from error
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_manifest(
    out: Path,
    kind: str,
    *,
    base: Path | None,
    adapters: Sequence[AdapterSource] = (),
    options: Mapping[str, Any],
    applied: Any = None,
    started: float,
    sha256: str | None = None,
    base_sha256: Mapping[str, str] | None = None,
) -> Export:
    """Write NAME.manifest.json beside `out`, which is there already, and return what was made.

    `started` is the `time.monotonic()` of the beginning. `applied` is a record, or a list of records, of which
    modules the adapters changed. `sha256` of the output and `base_sha256`, by file name, are computed where they
    are not given.
    """
    digest = sha256 or digest_of(out)
    export = Export(
        path=str(out),
        kind=kind,
        bytes=size_of(out),
        sha256=digest,
        seconds=round(time.monotonic() - started, 2),
        manifest=str(manifest_path(out)),
    )
    content = {
        "kind": kind,
        "output": {"name": out.name, "bytes": export.bytes, "sha256": digest},
        "base": base and {"path": str(base), "sha256": dict(base_sha256 or weights_sha256(base))},
        "adapters": [
            {"path": str(source.path), "weight": source.weight, "sha256": weights_sha256(source.path)}
            for source in adapters
        ],
        "applied": _plain(applied),
        "options": {key: _plain(value) for key, value in options.items()},
        "versions": _versions(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": export.seconds,
    }
    write_json(manifest_path(out), content)
    return export


def manifest_path(out: Path) -> Path:
    """Where the manifest of an export stands: out.gguf -> out.manifest.json."""
    return companion_path(out, "manifest")


def companion_path(out: Path, what: str) -> Path:
    """The path of a JSON file that belongs to an export: (out.gguf, "parity") -> out.parity.json."""
    name = out.name
    for suffix in (".gguf", ".onnx_adapter", ".onnx"):
        name = name.removesuffix(suffix)
    return out.with_name(f"{name}.{what}.json")


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of an export, None when there is none. Raises ConversionError when it is damaged."""
    return read_companion(out, "manifest")


def read_companion(out: Path, what: str) -> dict[str, Any] | None:
    """What stands at `companion_path(out, what)`, None for nothing. Raises ConversionError when it is damaged."""
    path = companion_path(out, what)
    return read_json(path) if path.is_file() else None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    with atomic_output(path) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def weights_sha256(directory: Path) -> dict[str, str]:
    """The SHA-256 of every weight and configuration file of a folder, by its path in there."""
    wanted = {".safetensors", ".json", ".model", ".jinja"}
    files = [file for file in _files(directory) if file.suffix in wanted]
    return {file.relative_to(directory).as_posix(): sha256_of(file) for file in files}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in _files(path))


def digest_of(out: Path) -> str:
    """SHA-256 of a file; of a folder, the SHA-256 of its files' lines "SHA-256  path", as sha256sum prints them."""
    if out.is_file():
        return sha256_of(out)
    import hashlib

    lines = [f"{sha256_of(file)}  {file.relative_to(out).as_posix()}\n" for file in _files(out)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _versions() -> dict[str, str]:
    from importlib import metadata

    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _check_target(out: Path) -> None:
    if not out.is_dir() or not any(out.iterdir()) or manifest_path(out).is_file():
        return
    raise StorageError(f"{out} is a folder with other things in it; name a new one, or empty it first")


def _check_free_space(folder: Path, needs: int) -> None:
    if needs > shutil.disk_usage(folder).free:
        raise StorageError(_disk_full_message(folder, needs))


def _disk_full_message(folder: Path, needs: int) -> str:
    free = shutil.disk_usage(folder).free
    wanted = f"{needs / 1e9:.1f} GB are needed and " if needs else ""
    return f"the disk of {folder} is full: {wanted}{free / 1e9:.1f} GB are free; free some space or choose another disk"


def _remove_leftovers(out: Path) -> None:
    """Temporary folders of runs that are no longer alive."""
    import psutil

    prefix = f".{out.name}{_PARTIAL}"
    for folder in out.parent.glob(f".*{_PARTIAL}*"):
        pid = folder.name.removeprefix(prefix).split("-")[0]
        if folder.name.startswith(prefix) and pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(partial: Path, out: Path, holder: Path) -> None:
    if partial.is_dir() and out.is_dir():
        # A folder cannot be replaced in one step: the old one steps aside into the temporary folder.
        out.rename(holder / "old")
    elif partial.is_file() and out.is_dir():
        raise StorageError(f"{out} is a folder and a file is to be written there; give the file a name in it")
    os.replace(partial, out)
