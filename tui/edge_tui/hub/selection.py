"""Which files of a repository make up the model that was asked for, and the name that it gets here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from edge.errors import DownloadError
from edge.system.model_folder import NATIVE

DEFAULT = "q4_k_m"

# From the finest to the coarsest, as large as they come out. Names without a letter are what Microsoft writes.
_QUANTISATIONS = (
    "f32", "bf16", "f16", "q8_0", "q8", "q6_k_l", "q6_k", "q6", "q5_k_l", "q5_k_m", "q5_1", "q5", "q5_k_s", "q5_0",
    "q4_k_xl", "q4_k_l", "q4_1", "q4_k_m", "q4", "q4_k_s", "iq4_nl", "q4_0", "iq4_xs", "q3_k_xl", "q3_k_l", "q3_k_m",
    "iq3_m", "q3", "iq3_s", "q3_k_s", "iq3_xs", "iq3_xxs", "q2_k_xl", "q2_k_l", "iq2_m", "q2_k", "q2", "iq2_s",
    "q2_k_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s",
)  # fmt: skip
_QUANTISATION = re.compile(r"(?:^|[-_.])(?:ud-)?((?:iq|q)\d(?:_[a-z0-9]+)*|b?f16|fp16|f32|fp32)(?=[-.]|$)")
_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)")
_NO_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_TEXTS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".md")
_NOT_OURS = ("data_config.json", "train_script.py")
_MODULE = re.compile(r"\d+_\w+$")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: `sha256` where the hub keeps it as a large file, else `blob`, git's SHA-1 of it."""

    path: str
    bytes: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit. `model_type` is that of its config.json, `licence` as the hub writes it."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str | None = None
    model_type: str | None = None
    gated: bool = False


@dataclass(frozen=True, slots=True)
class HubSelection:
    """What to fetch: `files` are pairs of a remote file and its path in the models directory.

    `target` is what the library will list: a folder, or a GGUF file, which stands last.
    """

    name: str
    format: Literal["gguf", "onnx", "encoder", "safetensors"]
    files: tuple[tuple[RemoteFile, str], ...]

    @property
    def target(self) -> str:
        last = self.files[-1][1]
        return last if self.format == "gguf" else last.split("/")[0]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file, _ in self.files)


def choose(
    repository: Repository, *, pattern: str | None = None, quantisation: str | None = None, name: str | None = None
) -> HubSelection:
    """The model to fetch: a GGUF one if there is any, else ONNX for onnxruntime-genai, an encoder, or a plain one.

    `pattern` is a file name, a path or a folder with `*` in it as a shell has it; `quantisation` such as "q8_0" is
    taken as it is, and without it q4_k_m or what comes nearest. Raises DownloadError with what there is to choose.
    """
    paths = {file.path for file in repository.files}
    ggufs = [file for file in repository.files if file.path.endswith(".gguf") and not _NO_MODEL.search(file.path)]
    wanted = [file for file in ggufs if _matches(file.path, pattern)]
    if wanted or (ggufs and quantisation):
        return _choose_gguf(repository, wanted, ggufs, quantisation, name)
    if quantisation:
        raise DownloadError(f"{repository.name} holds no GGUF files, so that no {quantisation} can be chosen in it")
    folders = sorted(str(PurePosixPath(path).parent) for path in paths if path.split("/")[-1] == "genai_config.json")
    if folders:
        return _choose_onnx(repository, folders, pattern, name)
    if pattern is None and "modules.json" in paths:
        return _choose_encoder(repository, name)
    if pattern is None and "config.json" in paths:
        return _choose_checkpoint(repository, name)
    there = _listed([file.path for file in ggufs] or sorted(paths))
    what = f"no model for {pattern!r}" if pattern else "no model that edge knows (GGUF, ONNX for genai, safetensors)"
    raise DownloadError(f"{repository.name} has {what}; it holds: {there}")


def _matches(path: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    path, pattern = path.lower(), pattern.lower().rstrip("/")
    return fnmatchcase(path, pattern) or fnmatchcase(path.split("/")[-1], pattern) or path.startswith(f"{pattern}/")


def quantisation_of(path: str) -> str | None:
    """What the name of a GGUF file says of its quantisation: ".../Phi-3-mini-4k-instruct-fp16.gguf" -> "f16"."""
    stem = _PART.sub("", path.split("/")[-1]).removesuffix(".gguf").lower()
    found = _QUANTISATION.findall(stem)
    return found[-1].replace("fp", "f") if found else None


def _choose_gguf(
    repository: Repository,
    wanted: Sequence[RemoteFile],
    every: Sequence[RemoteFile],
    quantisation: str | None,
    name: str | None,
) -> HubSelection:
    models: dict[str, list[RemoteFile]] = {}
    for file in wanted:
        models.setdefault(_PART.sub("", file.path), []).append(file)
    if quantisation is not None:
        asked = quantisation.lower().replace("fp", "f")
        found = [path for path in models if quantisation_of(path) == asked]
    else:
        found = _nearest(list(models))
    if len(found) != 1:
        there = _listed(sorted({_PART.sub("", file.path) for file in every}))
        which = f"several files fit {quantisation or DEFAULT}" if found else f"no {quantisation} is among the files"
        raise DownloadError(f"{repository.name}: {which}; choose one of them with --file: {there}")
    files = sorted(models[found[0]], key=lambda file: file.path)
    count = _PART.search(files[0].path)
    if count and len(files) != int(count[2]):
        raise DownloadError(f"{repository.name} holds {len(files)} of the {int(count[2])} parts of {found[0]}")
    plain = _plain(name or found[0].split("/")[-1].removesuffix(".gguf"))
    placed = [(file, f"{plain}{part[0] if (part := _PART.search(file.path)) else ''}.gguf") for file in files]
    # The library knows a split model by its first part: it comes last.
    return HubSelection(plain, "gguf", tuple(reversed(placed)))


def _nearest(paths: list[str]) -> list[str]:
    """Those of q4_k_m, else of the next smaller quantisation, else of the next larger one; or the only one."""
    if len(paths) == 1:
        return paths
    known = [(path, _QUANTISATIONS.index(q)) for path in paths if (q := quantisation_of(path)) in _QUANTISATIONS]
    default = _QUANTISATIONS.index(DEFAULT)
    ranks = {rank for _, rank in known}
    rank = min((r for r in ranks if r >= default), default=max(ranks, default=None))
    return [path for path, found in known if found == rank]


def _choose_onnx(repository: Repository, folders: list[str], pattern: str | None, name: str | None) -> HubSelection:
    wanted = [folder for folder in folders if _matches(f"{folder}/genai_config.json", pattern)]
    if len(wanted) > 1:
        wanted = [folder for folder in wanted if "cpu" in folder.lower()] or wanted
    if len(wanted) != 1:
        raise DownloadError(f"{repository.name} has several models; choose one with --file: {_listed(folders)}")
    folder = wanted[0]
    inside = "" if folder == "." else f"{folder}/"
    files = [file for file in repository.files if file.path.startswith(inside)]
    if not inside:
        files = [file for file in files if "/" not in file.path and not file.path.startswith(".")]
    files = [file for file in files if not NATIVE.search(file.path)]
    default = _last(repository.name) + (f"-{_last(folder)}" if inside else "")
    return _folder("onnx", name or default, files, inside, "genai_config.json")


def _choose_encoder(repository: Repository, name: str | None) -> HubSelection:
    from edge_converters.encoder.export import ARCHITECTURES

    paths = {file.path for file in repository.files}
    files = []
    for file in repository.files:
        folder, _, last = file.path.rpartition("/")
        if (not folder or _MODULE.match(folder)) and last.endswith((*_TEXTS, ".safetensors")) and last not in _NOT_OURS:
            files.append(file)
    drawn = repository.model_type is None or repository.model_type in ARCHITECTURES
    if not drawn or "model.safetensors" not in paths:
        # The index cannot draw these itself and runs the ONNX file that they bring.
        if "onnx/model.onnx" in paths:
            files = [file for file in files if file.path != "model.safetensors"]
            files += [file for file in repository.files if file.path in ("onnx/model.onnx", "onnx/model.onnx_data")]
        elif not any(file.path.endswith(".safetensors") for file in files):
            raise DownloadError(
                f"{repository.name} has its weights only as a pickle, which can run code when it is read; "
                "choose an encoder with safetensors"
            )
    return _folder("encoder", name or _last(repository.name), files, "", "modules.json")


def _choose_checkpoint(repository: Repository, name: str | None) -> HubSelection:
    """config.json, tokenizer and safetensors, each weight once."""
    root = [file for file in repository.files if "/" not in file.path and not file.path.startswith(".")]
    weights = [file for file in root if file.path.endswith(".safetensors")]
    paths = {file.path for file in root}
    if "model.safetensors.index.json" in paths:
        weights = [file for file in weights if re.match(r"model-\d+-of-\d+\.", file.path)]
    elif "model.safetensors" in paths:
        weights = [file for file in weights if file.path == "model.safetensors"]
    if not weights:
        raise DownloadError(f"{repository.name} has no safetensors; it holds: {_listed(sorted(paths))}")
    texts = [file for file in root if file.path.endswith(_TEXTS) or file.path in ("LICENSE", "NOTICE")]
    return _folder("safetensors", name or _last(repository.name), [*weights, *texts], "", "config.json")


def _folder(
    kind: Literal["onnx", "encoder", "safetensors"], name: str, files: Sequence[RemoteFile], inside: str, marker: str
) -> HubSelection:
    """A choice of whole folder; the file by which the library knows it stands last."""
    plain = _plain(name)
    ordered = sorted(files, key=lambda file: (file.path == inside + marker, file.path))
    return HubSelection(plain, kind, tuple((file, f"{plain}/{file.path.removeprefix(inside)}") for file in ordered))


def _plain(name: str) -> str:
    """`name`, if it can be that of a file here."""
    if not re.fullmatch(r"[\w][\w.+-]*", name):
        raise DownloadError(f"{name!r} cannot be the name of a model here; give one of letters and digits with --name")
    return name


def _last(path: str) -> str:
    return path.split("/")[-1]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:40])
    return f"{shown} and {len(names) - 40} more" if len(names) > 40 else shown or "nothing"
