"""llama.cpp's own converters, from the source distribution of llama-cpp-python, as an oracle."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

VERSION = "0.3.36"
_INNER = f"llama_cpp_python-{VERSION}/vendor/llama.cpp"

# What names the conversion and not the model.
NAMES = {
    "general.name", "general.basename", "general.finetune", "general.version", "general.organization",
    "general.description", "general.url", "general.repo_url", "general.source.url",
}  # fmt: skip


def sources(home: Path) -> Path:
    """llama.cpp's sources, fetched through pip once and kept in `home`; the test is skipped where that fails."""
    folder = home / "llama.cpp-sources" / _INNER
    if not (folder / "convert_hf_to_gguf.py").is_file():
        _fetch(home / "llama.cpp-sources")
    return folder


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python"]
    command += ["--disable-pip-version-check", "-q", "-d", str(folder)]
    command.append(f"llama-cpp-python=={VERSION}")
    done = subprocess.run(command, capture_output=True, text=True)
    archive = folder / f"llama_cpp_python-{VERSION}.tar.gz"
    if not archive.is_file():
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        pytest.skip(f"llama.cpp's sources cannot be fetched with pip: {last[0]}")
    with tarfile.open(archive) as tar:
        partial = folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        tar.extractall(partial, filter="data")
    (partial / f"llama_cpp_python-{VERSION}").rename(folder / f"llama_cpp_python-{VERSION}")
    archive.unlink()


@dataclass(frozen=True)
class Job:
    """A conversion for upstream: of `model`, or of the LoRA `adapter` on it."""

    model: Path
    out: Path
    precision: str
    adapter: Path | None = None

    @property
    def arguments(self) -> list[str]:
        common = ["--outfile", str(self.out), "--outtype", self.precision]
        if self.adapter is None:
            return ["convert_hf_to_gguf.py", *common, str(self.model)]
        return ["convert_lora_to_gguf.py", *common, "--base", str(self.model), str(self.adapter)]


# All in one process, for most of the time goes into its imports.
_RUN = """
import json, os, runpy, sys
jobs, folder = json.loads(sys.argv[1]), sys.argv[2]
for script, *arguments in jobs:
    sys.argv = [os.path.join(folder, script), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def convert(sources: Path, jobs: Sequence[Job]) -> None:
    """Let upstream's converters do these jobs."""
    command = [sys.executable, "-c", _RUN, json.dumps([job.arguments for job in jobs]), str(sources)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(sources)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@dataclass(frozen=True)
class Tensor:
    """`shape` in ggml's order, the fastest axis first."""

    kind: str
    shape: tuple[int, ...]
    data: bytes


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a GGUF file; the `gguf` library's reader takes a minute for a large vocabulary."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    data = path.read_bytes()
    assert data[:8] == b"GGUF\x03\0\0\0"
    reader = _Reader(data, 8)
    count, keys = reader.number("<Q"), reader.number("<Q")
    fields = {reader.text(): reader.value(reader.number("<I")) for _ in range(keys)}
    infos = []
    for _ in range(count):
        name, axes = reader.text(), reader.number("<I")
        shape = tuple(reader.number("<Q") for _ in range(axes))
        infos.append((name, shape, GGMLQuantizationType(reader.number("<I")), reader.number("<Q")))
    start = -(-reader.position // 32) * 32
    found = {}
    for name, shape, kind, offset in infos:
        block, size = GGML_QUANT_SIZES[kind]
        begin = start + offset
        end = begin + math.prod(shape) // block * size
        assert end <= len(data), name
        found[name] = Tensor(kind.name, shape, data[begin:end])
    return fields, found


_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


class _Reader:
    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    def number(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return value

    def text(self) -> str:
        length = self.number("<Q")
        self.position += length
        return self.data[self.position - length : self.position].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.number("<I"), self.number("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.number(_FORMATS[kind])


def assert_same(ours: Path, theirs: Path, *, more: Mapping[str, Any] | None = None, hidden: Sequence[int] = ()) -> None:
    """Tensor names, types, shapes and bytes equal, and metadata but for `NAMES`; `more` stands in ours alone, and the
    tokens `hidden` have a space behind there.
    """
    (keys, tensors), (other_keys, other_tensors) = read_gguf(ours), read_gguf(theirs)
    assert tensors.keys() == other_tensors.keys()
    for name, tensor in tensors.items():
        other = other_tensors[name]
        assert (tensor.kind, tensor.shape) == (other.kind, other.shape), name
        assert tensor.data == other.data, f"{name} has other bytes"
    for key, value in (more or {}).items():
        assert (keys.pop(key), other_keys.get(key)) == (value, None), key
    for token in hidden:
        tokens = keys["tokenizer.ggml.tokens"]
        assert tokens[token] == other_keys["tokenizer.ggml.tokens"][token] + "\u0120"
        tokens[token] = tokens[token][:-1]
    # No causal language model has a separator, and llama.cpp reads an absent key as False.
    if not other_keys.get("tokenizer.ggml.add_sep_token"):
        other_keys.pop("tokenizer.ggml.add_sep_token", None)
    differing = [key for key in keys.keys() | other_keys.keys() if keys.get(key) != other_keys.get(key)]
    assert sorted(set(differing) - NAMES) == []
