"""A Hugging Face model directory, read tensor by tensor from memory-mapped safetensors, never whole.

The format of the files: https://huggingface.co/docs/safetensors (8 bytes of header length, JSON, data).
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError, MissingExtra
from edge.system.json_file import read_json as read_any_json
from edge.system.json_file import read_json_object

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip
_TORCH = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_MOST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies: `start:end` are byte positions in `file`; `dtype` is safetensors' name ("BF16")."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.start

    @property
    def elements(self) -> int:
        return prod(self.shape)


class TensorFiles:
    """Safetensors files, each memory-mapped when the first tensor of it is read.

    The mapping is private: writing into a tensor never reaches the file.
    """

    def __init__(self) -> None:
        self._maps: dict[Path, mmap.mmap] = {}

    def read(self, info: TensorInfo, rows: slice = slice(None)) -> torch.Tensor:
        """The tensor, or rows of its first axis, as it is stored; no byte is copied."""
        lib = import_torch()
        dtype = getattr(lib, _TORCH[info.dtype])
        if not info.elements:
            empty: torch.Tensor = lib.empty(info.shape, dtype=dtype)
            return empty[rows]
        flat: torch.Tensor = lib.frombuffer(self._map(info.file), dtype=dtype, count=info.elements, offset=info.start)
        return flat.view(info.shape)[rows] if info.shape else flat.view(())

    def bytes_of(self, info: TensorInfo) -> memoryview:
        """The tensor's bytes, little-endian, memory-mapped."""
        return memoryview(self._map(info.file))[info.start : info.end]

    def _map(self, file: Path) -> mmap.mmap:
        mapped = self._maps.get(file)
        if mapped is None:
            with file.open("rb") as opened:
                mapped = self._maps[file] = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        return mapped


class Checkpoint:
    """A model directory as transformers writes it: config.json and safetensors, in one file or in shards.

    `tensors` is in the order of the files. Raises ConversionError for a directory that is incomplete or
    damaged, before any weight is read.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise ConversionError(f"{directory} is no folder; give a model folder with config.json and safetensors")
        self.config: dict[str, Any] = self._config()
        self.files = self._weight_files()
        self.tensors: dict[str, TensorInfo] = {}
        for file in self.files:
            for name, info in read_header(file).items():
                if name in self.tensors:
                    raise ConversionError(
                        f"{name} stands in {self.tensors[name].file.name} and in {file.name} of {directory}; "
                        "one of them is left over from another model: fetch the model again into an empty folder"
                    )
                self.tensors[name] = info
        self._check_index()
        self._data = TensorFiles()

    def read(self, name: str, rows: slice = slice(None)) -> torch.Tensor:
        """A tensor, or rows of its first axis: in the stored dtype, memory-mapped. KeyError when absent."""
        return self._data.read(self.tensors[name], rows)

    def bytes_of(self, name: str) -> memoryview:
        """A tensor's bytes as they are stored, memory-mapped."""
        return self._data.bytes_of(self.tensors[name])

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the directory, None when there is none."""
        path = self.directory / name
        return read_json(path) if path.is_file() else None

    def _config(self) -> dict[str, Any]:
        path = self.directory / "config.json"
        if not path.is_file():
            hint = (
                "it is a LoRA: name the base model's folder first and this one with --adapter"
                if (self.directory / "adapter_config.json").is_file()
                else "give the folder of a Hugging Face model, with config.json and *.safetensors in it"
            )
            raise ConversionError(f"{self.directory} has no config.json; {hint}")
        return read_json(path)

    def _weight_files(self) -> list[Path]:
        index = self.directory / INDEX
        if index.is_file():
            names = sorted(set(_weight_map(index).values()))
            absent = [name for name in names if not (self.directory / name).is_file()]
            if absent:
                raise ConversionError(
                    f"{index} names {len(absent)} of {len(names)} files that are not there ({absent[0]} …); "
                    "fetch the missing ones"
                )
            return [self.directory / name for name in names]
        if (self.directory / SINGLE).is_file():
            return [self.directory / SINGLE]
        found = sorted(self.directory.glob("*.safetensors"))
        if len(found) == 1:
            return found
        if found:
            raise ConversionError(
                f"{self.directory} has {len(found)} safetensors files and no {INDEX}, which says how they belong "
                "together; fetch that file too"
            )
        raise ConversionError(self._without_safetensors())

    def _without_safetensors(self) -> str:
        pickles = [*self.directory.glob("*.bin"), *self.directory.glob("*.pt"), *self.directory.glob("*.pth")]
        if pickles:
            return (
                f"{pickles[0]} is a pickle, which can run code when it is read, so it is not read; convert it where "
                'you trust it: python -c "from transformers import AutoModelForCausalLM as M; '
                f"M.from_pretrained('{self.directory}').save_pretrained('NEW_FOLDER')\""
            )
        if any(self.directory.glob("*.gguf")):
            return f"{self.directory} holds GGUF files only; conversion starts from the original safetensors"
        return f"{self.directory} has a config.json but no *.safetensors; fetch the weights too"

    def _check_index(self) -> None:
        index = self.directory / INDEX
        if not index.is_file():
            return
        for name, file in _weight_map(index).items():
            if name not in self.tensors:
                raise ConversionError(
                    f"{index} says that {name} is in {file}, which does not hold it; fetch {file} again"
                )


def _weight_map(index: Path) -> Mapping[str, str]:
    content = read_json(index)
    names = content.get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ConversionError(f"{index} has no weight_map; fetch it again")
    outside = next((file for file in names.values() if Path(str(file)).name != file), None)
    if outside is not None:
        raise ConversionError(f"{index} names {outside!r}, which is no plain file name; fetch it again")
    return names


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises ConversionError."""
    return read_json_object(path, ConversionError)


def load_json(path: Path) -> Any:
    """What a JSON file holds. Raises ConversionError."""
    return read_any_json(path, ConversionError)


def read_header(file: Path) -> dict[str, TensorInfo]:
    """What a safetensors file holds, in the order of its bytes. No weights are read.

    Raises ConversionError when it is no safetensors file, is cut short, or its spans do not fill it.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = struct.unpack("<Q", opened.read(8).ljust(8, b"\0"))[0]
            raw = opened.read(length) if 2 <= length <= min(size, _MOST_HEADER) else b""
    except OSError as error:
        raise ConversionError(f"{file} cannot be read: {error.strerror}") from error
    if not raw:
        raise ConversionError(_not_safetensors(file, size))
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        base = 8 + length
        found = [_tensor_info(file, name, entry, base) for name, entry in entries.items()]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConversionError(f"{file} has a damaged header ({error}); fetch it again") from error
    found.sort(key=lambda info: (info.start, info.end))
    _check_spans(file, found, base, size)
    return {info.name: info for info in found}


def _not_safetensors(file: Path, size: int) -> str:
    with file.open("rb") as opened:
        beginning = opened.read(64)
    if beginning.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        return f"{file} is a pickle that was renamed, which is not read because it can run code; fetch safetensors"
    if beginning.startswith(b"version https://git-lfs"):
        return f"{file} is a Git LFS pointer and not the weights; run `git lfs pull` in its folder"
    return f"{file} is not a safetensors file or is cut short ({size:,} bytes); fetch it again"


def _tensor_info(file: Path, name: str, entry: Mapping[str, Any], base: int) -> TensorInfo:
    start, end = (int(position) for position in entry["data_offsets"])
    shape = tuple(int(length) for length in entry["shape"])
    dtype = entry["dtype"]
    if dtype not in _BITS:
        raise ConversionError(f"{name} in {file} is of the type {dtype}, which cannot be converted; fetch another form")
    if min((start, *shape), default=0) < 0 or (end - start) * 8 != prod(shape) * _BITS[dtype]:
        raise ValueError(f"{name} takes {end - start} bytes for {dtype} {list(shape)}")
    return TensorInfo(name, dtype, shape, file, base + start, base + end)


def _check_spans(file: Path, found: Iterable[TensorInfo], base: int, size: int) -> None:
    position = base
    for info in found:
        if info.start != position:
            raise ConversionError(f"{file} has a damaged header ({info.name} is not where it must be); fetch it again")
        position = info.end
    if position > size:
        raise ConversionError(f"{file} is cut short: {size:,} bytes of {position:,}; fetch it again")


def import_torch() -> Any:
    """The torch module. Raises MissingExtra."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "convert") from error
    return torch
