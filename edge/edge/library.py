"""What lies on this machine: models, adapters, text encoders and indexes in the data directory; name -> path."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import AdapterError, EncoderError, ModelNotFound, UsageError
from edge.system import paths
from edge.system.suggestions import did_you_mean

STARTER_MODEL = "SmolLM2-135M-Instruct.Q4_1"
PULL = "edge models pull starter"
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model in the data directory: `name` is what a command takes, `bytes` the size of all its files.

    "safetensors" is a Hugging Face folder, from which `edge convert` makes the others.
    """

    name: str
    path: str
    format: Literal["gguf", "onnx", "encoder", "safetensors"]
    bytes: int

    @property
    def files(self) -> list[Path]:
        """The folder, or every part of the GGUF file."""
        return parts(Path(self.path))


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """A LoRA in the data directory: `name` is what a command takes; a "peft" folder fits every engine."""

    name: str
    path: str
    format: Literal["peft", "gguf", "onnx"]
    bytes: int


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An index in the data directory: `name` is what a command takes, `bytes` the size of all its files."""

    name: str
    path: str
    bytes: int


def models() -> list[ModelEntry]:
    """The language models, by name: GGUF files (the first part stands for a split one) and ONNX folders."""
    found = []
    for path in _entries(paths.models_dir()):
        if path.suffix.lower() == ".gguf" and path.is_file() and not _LATER_PART.search(path.stem):
            size = sum(_size(part) for part in parts(path))
            found.append(ModelEntry(path.stem, str(path), "gguf", size))
        elif (path / "genai_config.json").is_file():
            found.append(ModelEntry(path.name, str(path), "onnx", _size(path)))
    return found


def adapters() -> list[AdapterEntry]:
    """The LoRAs, by name: PEFT folders, GGUF LoRAs and `.onnx_adapter` files."""
    found = []
    for path in _entries(paths.adapters_dir()):
        if (path / "adapter_config.json").is_file():
            found.append(AdapterEntry(path.name, str(path), "peft", _size(path)))
        elif path.suffix == ".gguf" and path.is_file():
            found.append(AdapterEntry(path.stem, str(path), "gguf", _size(path)))
        elif path.suffix == ".onnx_adapter" and path.is_file():
            found.append(AdapterEntry(path.stem, str(path), "onnx", _size(path)))
    return found


def encoders() -> list[ModelEntry]:
    """The text encoders, by name: folders in the layout of sentence-transformers."""
    return [
        ModelEntry(path.name, str(path), "encoder", _size(path))
        for path in _entries(paths.models_dir())
        if (path / "modules.json").is_file()
    ]


def checkpoints() -> list[ModelEntry]:
    """The Hugging Face folders that are neither ONNX models nor encoders: what `edge convert` begins with."""
    return [
        ModelEntry(path.name, str(path), "safetensors", _size(path))
        for path in _entries(paths.models_dir())
        if (path / "config.json").is_file()
        and any(path.glob("*.safetensors"))
        and not any((path / other).is_file() for other in ("modules.json", "genai_config.json"))
    ]


def entries() -> list[ModelEntry]:
    """Everything in the models directory that a command can name."""
    return [*models(), *encoders(), *checkpoints()]


def parts(path: Path) -> list[Path]:
    """The files of a GGUF model: those of a split one, `…-00001-of-00003.gguf`, that are there, or `path` alone."""
    found = _PART.search(path.stem)
    if found is None or path.suffix.lower() != ".gguf":
        return [path]
    every = [
        path.with_name(f"{path.stem[: found.start()]}-{number:05}-of-{found[2]}{path.suffix}")
        for number in range(1, int(found[2]) + 1)
    ]
    return [part for part in every if part.is_file()] or [path]


def indexes() -> list[IndexEntry]:
    """The indexes that have a name, that is, lie in the data directory."""
    return [IndexEntry(path.name, str(path), _size(path)) for path in _entries(paths.indexes_dir()) if path.is_dir()]


def find_model(name_or_path: str | Path | None = None, *, engine: Literal["gguf", "onnx"] | None = None) -> Path:
    """The GGUF file or ONNX folder of a model; `engine` leaves out those that the other one runs.

    A name counts whatever its case, with or without `.gguf`, and may be cut short as long as one model only
    begins so. None takes the only model, or the starter model among several. Raises ModelNotFound.
    """
    known = [entry for entry in models() if engine in (None, entry.format)]
    path = _find(name_or_path, known, STARTER_MODEL, "model", ModelNotFound)
    if engine is not None and path.is_dir() != (engine == "onnx"):
        what = "a folder" if path.is_dir() else "a file"
        runs = "GGUF files" if engine == "gguf" else "folders with a genai_config.json (edge convert onnx makes them)"
        raise ModelNotFound(f"{path} is {what}, and the engine {engine} runs {runs}")
    return path


def find_adapter(name_or_path: str | Path) -> Path:
    """The PEFT folder or adapter file; names as in `find_model`. Raises AdapterError."""
    return _find(name_or_path, adapters(), "", "adapter", AdapterError, make="edge adapters add PATH")


def adapter_name(path: Path) -> str:
    """What an adapter is called unless it is told otherwise."""
    return path.resolve().name.removesuffix(".gguf").removesuffix(".onnx_adapter")


def find_encoder(name_or_path: str | Path | None = None) -> Path:
    """The folder of a text encoder; names as in `find_model`. Raises EncoderError."""
    found = _find(name_or_path, encoders(), paths.STARTER_ENCODER, "text encoder", EncoderError)
    if not found.is_dir():
        raise EncoderError(f"{found} is no folder; a text encoder is a folder with a modules.json in it")
    return found


def find_entry(name: str) -> ModelEntry:
    """What of `entries` is called so. Raises ModelNotFound."""
    known = entries()
    path = str(_find(name, known, STARTER_MODEL, "model", ModelNotFound))
    for entry in known:
        if entry.path == path:
            return entry
    raise ModelNotFound(f"{path} is no model in {paths.models_dir()}; `edge models list` shows those that are")


def find_index(name_or_path: str | Path) -> Path:
    """The folder of an index, which need not exist yet.

    A plain name is an index of that name in the data directory, if there is one; else a folder of that name
    where we stand; else a new one in the data directory. Anything with a separator is a path.
    """
    text = str(name_or_path)
    if not text.strip():
        raise UsageError("an index needs a name or a folder; give one with --index")
    if _is_path(text):
        return Path(text).expanduser()
    named = paths.indexes_dir() / text
    return Path(text) if not named.exists() and Path(text).exists() else named


def _find(
    wanted: str | Path | None,
    entries: Sequence[ModelEntry | AdapterEntry],
    starter: str,
    kind: str,
    error: type[ModelNotFound] | type[EncoderError] | type[AdapterError],
    make: str = PULL,
) -> Path:
    names = [entry.name for entry in entries]
    if wanted is None:
        if not entries:
            raise error(f"there is no {kind} in {paths.models_dir()} yet; run: {make}")
        chosen = names[0] if len(names) == 1 else starter
        if chosen not in names:
            raise error(f"there are several {kind}s, choose one by name or path: {', '.join(names)}")
        return Path(entries[names.index(chosen)].path)
    text = str(wanted)
    here = Path(text).expanduser()
    if _is_path(text):
        if not here.exists():
            raise error(f"{text} does not exist; give a path that does, or one of: {_listed(names, make)}")
        return here
    key = _key(text)
    exact = [entry for entry in entries if _key(entry.name) == key]
    if text.lower().endswith(".gguf"):
        exact = [entry for entry in exact if entry.format == "gguf"]
    if not exact and here.exists():
        return here
    matches = exact or [entry for entry in entries if key and _key(entry.name).startswith(key)]
    if len(matches) == 1:
        return Path(matches[0].path)
    if exact:
        files = " and ".join(Path(entry.path).name for entry in exact)
        raise error(f"{text!r} stands for several {kind}s, {files}; choose with --engine gguf or onnx, or give a path")
    if matches:
        raise error(f"{text!r} is the beginning of several {kind}s: {_listed([m.name for m in matches], make)}")
    raise error(f"there is no {kind} called {text!r}{did_you_mean(text, names)}; known: {_listed(names, make)}")


def _is_path(text: str) -> bool:
    return "/" in text or os.sep in text or text in (".", "..") or text.startswith("~")


def _key(name: str) -> str:
    return name.lower().removesuffix(".gguf")


def _listed(names: Sequence[str], make: str) -> str:
    return ", ".join(names) if names else f"none yet (run: {make})"


def _entries(folder: Path) -> list[Path]:
    """The visible entries of a folder by name; none when it does not exist or cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
