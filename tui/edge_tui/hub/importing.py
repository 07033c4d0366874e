"""`edge models import`: a model that lies elsewhere on this machine (a file, a folder, Ollama's or LM Studio's store)
becomes one of the library, checked first, whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge import library
from edge.engines.onnx.genai_config import FILE, load_genai_config
from edge.errors import ModelError, ModelNotFound, StorageError, UsageError
from edge.system import paths
from edge.system.model_folder import check_links
from edge_tui.hub.starter import CHUNK, PullProgress, Report, nobody, refused

How = Literal["copy", "link", "move"]
_STAGING = ".importing-"  # + process id
_OLLAMA_MODEL = "application/vnd.ollama.image.model"


@dataclass(frozen=True, slots=True)
class Source:
    """A model elsewhere: `path` is a GGUF file (the first part of a split one) or a folder; `name` it may have here."""

    path: Path
    name: str


def import_model(
    where: str,
    models_dir: Path,
    *,
    save_as: str | None = None,
    how: How = "copy",
    replace: bool = False,
    progress: Report | None = None,
) -> Path:
    """Copy, link (symbolically) or move the model at `where` into `models_dir` and return where it is there.

    `where` is a path, "ollama:NAME[:TAG]" or "lmstudio:NAME". Raises ModelError for what is no model, ModelNotFound,
    StorageError when the name is taken (and not `replace`) or the disk refuses.
    """
    source = find(where)
    name = save_as or source.name
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UsageError(f"{name!r} cannot be the name of a model here; give one of letters and digits with --name")
    if how == "move" and where.startswith("ollama:"):
        raise UsageError("Ollama would miss the file; import it with --copy or --link, then remove it with ollama rm")
    files = check(source.path)
    if source.path.is_dir():
        targets = {source.path: models_dir / name}
    else:
        part = re.compile(r"-\d{5}-of-\d{5}$")
        targets = {
            file: models_dir / f"{name}{found[0] if (found := part.search(file.stem)) else ''}.gguf" for file in files
        }
    if how == "move" and any(file.is_symlink() for path in files for file in (path, *path.rglob("*"))):
        raise UsageError(
            f"{source.path} is, or holds, links to files elsewhere, which do not move; import a copy of it"
        )
    taken = [target for target in targets.values() if os.path.lexists(target)]
    if taken and not replace:
        raise StorageError(f"{taken[0]} is there already; add --replace, or choose another name with --name")
    if any(target.resolve() == file.resolve() for file, target in targets.items()):
        raise UsageError(f"{where} and {models_dir / name} are the same; choose another name with --name")
    paths.ensure_dir(models_dir)
    try:
        with _staging(models_dir) as staging:
            _place(targets, staging, how, progress or nobody)
    except OSError as error:
        raise refused(models_dir, error) from error
    return min(targets.values())


def check(path: Path) -> list[Path]:
    """The files of the model at `path`, which is what it says it is. Raises ModelError or ModelNotFound."""
    if path.is_dir():
        markers = (FILE, "modules.json")
        if not any((path / marker).is_file() for marker in markers):
            raise ModelError(
                f"{path} is neither an ONNX model (genai_config.json) nor a text encoder (modules.json); convert it "
                "with edge convert, or give a GGUF file"
            )
        if not any(path.rglob("*.onnx")) and not any(path.rglob("*.safetensors")):
            raise ModelError(f"{path} has no weights (*.onnx, *.safetensors) in it; fetch it again")
        for marker in markers:
            _check_json(path / marker)
        check_links(path)
        return [path]
    if not path.exists():
        raise ModelNotFound(f"{path} does not exist; give a GGUF file, a folder, ollama:NAME or lmstudio:NAME")
    from edge.engines.llamacpp.gguf_check import check_gguf, parts_of

    check_gguf(path)
    return parts_of(path)


def find(where: str) -> Source:
    """What `where` names. Raises ModelNotFound."""
    store, colon, name = where.partition(":")
    if colon and store == "ollama":
        return _in_ollama(name)
    if colon and store == "lmstudio":
        return _in_lm_studio(name)
    path = Path(where).expanduser().absolute()
    name = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem) if path.suffix.lower() == ".gguf" else path.name
    return Source(path, name)


def elsewhere() -> list[str]:
    """The models of Ollama and LM Studio on this machine, each as `find` takes it; their files are not opened."""
    found = [f"ollama:{_short(full)}:{tag}" for store in _ollama_stores() for _, full, tag, _ in _manifests(store)]
    return [*dict.fromkeys(found), *(f"lmstudio:{name}" for name in _lm_studio_files())]


def _check_json(path: Path) -> None:
    """`path`, where it exists, is JSON, and the weights that a genai_config.json names are there."""
    if not path.is_file():
        return
    try:
        if path.name == FILE:
            named = load_genai_config(path)["model"]["decoder"]["filename"]
        else:
            json.loads(path.read_bytes())
            named = None
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}); fetch the model again") from error
    if named is not None and not (path.parent / str(named)).is_file():
        raise ModelError(f"{path} names {named}, which is not beside it; fetch the model again")


def _place(targets: dict[Path, Path], staging: Path, how: How, report: Report) -> None:
    """Make everything in `staging` first; then only names change, the first part of a split model last."""
    renamed = how == "move" and _one_disk(targets, staging)
    if how == "link":
        for source, target in targets.items():
            (staging / target.name).symlink_to(source.resolve(), target_is_directory=source.is_dir())
    elif not renamed:
        _check_room(targets, staging)
        for source, target in targets.items():
            _copy(source, staging / target.name, report)
    for source, target in sorted(targets.items(), key=lambda pair: pair[1], reverse=True):
        _swap(source if renamed else staging / target.name, target, staging)
    if how == "move" and not renamed:
        remove_files(list(targets))


def _one_disk(targets: dict[Path, Path], staging: Path) -> bool:
    return all(source.stat().st_dev == staging.stat().st_dev for source in targets)


def _swap(ready: Path, target: Path, staging: Path) -> None:
    """Give `ready` the name `target`; what had it goes, with the files that told of it, unless that fails."""
    from edge_converters.output import companion_path

    old = staging / "replaced" if target.is_dir() or target.is_symlink() else None
    if old is not None:
        os.rename(target, old)
    try:
        os.replace(ready, target)
    except OSError:
        if old is not None:
            os.rename(old, target)
        raise
    for what in ("manifest", "parity"):
        companion_path(target, what).unlink(missing_ok=True)


def remove_files(files: list[Path]) -> None:
    """Delete files and folders; of a link only the link."""
    for path in files:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _check_room(targets: dict[Path, Path], staging: Path) -> None:
    needed = sum(file.stat().st_size for source in targets for file in _files(source))
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise StorageError(
            f"the disk of {staging.parent} has {free / 1e6:.0f} MB free and {needed / 1e6:.0f} MB are needed; free "
            "some space, or import it with --link"
        )


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _copy(source: Path, target: Path, report: Report) -> None:
    for file in _files(source):
        out = target / file.relative_to(source) if source.is_dir() else target
        out.parent.mkdir(parents=True, exist_ok=True)
        total, done = file.stat().st_size, 0
        with file.open("rb") as reader, out.open("wb") as writer:
            while chunk := reader.read(CHUNK):
                writer.write(chunk)
                done += len(chunk)
                report(PullProgress("copying", file.name, done, total))
            writer.flush()
            os.fsync(writer.fileno())


@contextmanager
def _staging(models_dir: Path) -> Iterator[Path]:
    """A folder beside the models that the library does not list; those of imports that were killed are removed."""
    import psutil

    for left in models_dir.glob(f"{_STAGING}*"):
        owner = left.name.removeprefix(_STAGING)
        if not owner.isdigit() or not psutil.pid_exists(int(owner)) or int(owner) == os.getpid():
            shutil.rmtree(left, ignore_errors=True)
    staging = models_dir / f"{_STAGING}{os.getpid()}"
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _in_ollama(name: str) -> Source:
    """A model of Ollama, whose manifest names the blob that is the GGUF file.

    The layout: https://github.com/ollama/ollama/blob/main/server/manifest.go
    """
    model, _, tag = name.partition(":")
    known = [manifest for store in _ollama_stores() for manifest in _manifests(store)]
    wanted = {0: "registry.ollama.ai/library/", 1: "registry.ollama.ai/"}.get(model.count("/"), "") + model
    for store, full, its_tag, path in known:
        if full.lower() == wanted.lower() and its_tag == (tag or "latest"):
            layers = [layer for layer in _layers(path) if layer.get("mediaType") == _OLLAMA_MODEL]
            digests = [str(layer.get("digest")) for layer in layers]
            if len(digests) != 1 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digests[0]):
                raise ModelError(f"{path} names {len(digests)} files of weights where one is needed; pull it again")
            blob = store / "blobs" / digests[0].replace(":", "-")
            return Source(blob, f"{model.split('/')[-1]}-{its_tag}" if tag else model.split("/")[-1])
    there = ", ".join(f"{_short(full)}:{its_tag}" for _, full, its_tag, _ in known)
    raise ModelNotFound(f"Ollama has no {name} on this machine; it has: {there or 'nothing'}")


def _short(full: str) -> str:
    """A name of Ollama's without what goes without saying."""
    return full.removeprefix("registry.ollama.ai/").removeprefix("library/")


def _ollama_stores() -> list[Path]:
    roots = [os.environ.get("OLLAMA_MODELS"), Path.home() / ".ollama/models", "/usr/share/ollama/.ollama/models"]
    return [Path(root) for root in roots if root and (Path(root) / "manifests").is_dir()]


def _manifests(store: Path) -> list[tuple[Path, str, str, Path]]:
    """(store, full name, tag, file) of every manifest."""
    root = store / "manifests"
    files = sorted(file for file in root.rglob("*") if file.is_file() and not file.name.startswith("."))
    return [(store, file.parent.relative_to(root).as_posix(), file.name, file) for file in files]


def _layers(manifest: Path) -> list[dict[str, object]]:
    try:
        layers = json.loads(manifest.read_bytes()).get("layers", [])
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{manifest} is damaged ({error}); pull it again with Ollama") from error
    return [layer for layer in layers if isinstance(layer, dict)]


def _in_lm_studio(name: str) -> Source:
    """A GGUF file of LM Studio; `name` is any part of PUBLISHER/REPOSITORY/FILE."""
    found = _lm_studio_files()
    fitting = [key for key in found if name.lower() in key.lower()]
    if len(fitting) != 1:
        there = ", ".join(fitting or found) or "nothing"
        what = f"several that are called {name!r}" if fitting else f"none that is called {name!r}"
        raise ModelNotFound(f"LM Studio has {what}; it has: {there}")
    return find(str(found[fitting[0]]))


def _lm_studio_files() -> dict[str, Path]:
    """LM Studio's GGUF files by PUBLISHER/REPOSITORY/FILE."""
    pointer = Path.home() / ".lmstudio-home-pointer"
    homes = [Path(pointer.read_text(encoding="utf-8").strip())] if pointer.is_file() else []
    homes += [Path.home() / ".lmstudio", Path.home() / ".cache/lm-studio"]
    found: dict[str, Path] = {}
    for models in dict.fromkeys(home / "models" for home in homes):
        for file in sorted(models.glob("*/*/*.gguf")):
            if file == library.parts(file)[0] and not file.name.startswith("mmproj"):
                found.setdefault(file.relative_to(models).as_posix(), file)
    return found
