"""base + LoRA -> merged tensors, as they are read (`Merged`) or as a Hugging Face directory (`merge`), in float32
arithmetic and a few megabytes of memory.
"""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edge.errors import ConversionError
from edge_converters.lora.merge_plan import Applied, AppliedAdapter, Plan
from edge_converters.lora.peft_adapter import Lora
from edge_converters.output import atomic_output, write_manifest
from edge_converters.types import Adapters, AdapterSource, Export, Progress, adapter_sources
from edge_converters.weights.checkpoint import INDEX, SINGLE, Checkpoint, TensorInfo
from edge_converters.weights.tensor_chunks import ChunkSource, bytes_of, compute_chunks, is_finite

if TYPE_CHECKING:
    import torch

__all__ = ["Applied", "AppliedAdapter", "Merged", "merge", "open_weights"]

# A tensor is read, cast and written in pieces of about this many bytes, so that memory stays small.
_CHUNK = 4 << 20
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*")
_COPIED = {".json", ".model", ".txt", ".jinja", ".py", ".tiktoken", ".md", ""}


class Merged:
    """A checkpoint with adapters merged as it is read; it has Checkpoint's face.

    `tensors` and `config` are those of the merged model: a larger vocabulary and an output head that is no longer
    tied to the input show there. Making one is the preflight: AdapterError for an adapter that does not fit,
    ConversionError for a base that cannot be merged into, before a byte is written.
    """

    def __init__(self, base: Checkpoint, adapters: Sequence[AdapterSource]) -> None:
        self.base = base
        self._plan = Plan(base, [(Lora(source.path), source.weight) for source in adapters])
        self.directory = base.directory
        self.files = base.files
        self.config: dict[str, Any] = self._plan.config
        self.tensors: dict[str, TensorInfo] = self._plan.tensors
        self.applied: Applied = self._plan.applied
        self.tokenizer = self._tokenizer_of(adapters)

    def touched(self, name: str) -> bool:
        """Whether an adapter changes this tensor."""
        return name in self._plan.changes

    def read(self, name: str, rows: slice = slice(None)) -> torch.Tensor:
        """A tensor, or rows of its first axis. Untouched: as it is stored, memory-mapped. Touched: float32,
        contiguous, the same bits for any choice of rows; about a megabyte at a time is fastest.
        """
        change = self._plan.changes.get(name)
        return self.base.read(self._plan.stored_as(name).name, rows) if change is None else change.result(rows)

    def block_rows(self, name: str) -> int:
        """Reading a touched tensor in multiples of so many rows computes nothing twice."""
        return self._plan.changes[name].block_rows

    def stored_dtype(self, name: str) -> torch.dtype:
        """The type in which the base keeps this tensor, and in which it is written again."""
        return self.base.read(self._plan.stored_as(name).name, slice(0, 0)).dtype

    def bytes_of(self, name: str) -> memoryview:
        """An untouched tensor's bytes as they are stored, memory-mapped. ValueError for a touched one."""
        if self.touched(name):
            raise ValueError(f"{name} is merged and so not stored anywhere")
        return self.base.bytes_of(self._plan.stored_as(name).name)

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the directory as it is for the merged model, None when there is none."""
        return self.config if name == "config.json" else self.base.json(name)

    def _tokenizer_of(self, adapters: Sequence[AdapterSource]) -> Path:
        """The folder whose tokenizer belongs to the merged model: an adapter's that brings another vocabulary."""
        if self.applied.vocabulary is not None:
            for source, done in zip(adapters, self.applied.adapters, strict=True):
                if done.replaced:
                    found = [
                        folder for folder in (Path(done.path), source.path) if (folder / "tokenizer.json").is_file()
                    ]
                    if found:
                        return found[0]
        return self.base.directory


def open_weights(base: Path, adapters: Sequence[AdapterSource] = ()) -> Checkpoint | Merged:
    """The weights of a model directory, with adapters merged where there are any. Errors as for both classes."""
    checkpoint = Checkpoint(base)
    return Merged(checkpoint, adapters) if adapters else checkpoint


def end_tokens(weights: Checkpoint | Merged) -> list[int]:
    """The ids at which a model ends its replies, as its generation settings name them, else its config; some say -1 for
    none.
    """
    settings = weights.json("generation_config.json") or {}
    named = settings.get("eos_token_id", weights.config.get("eos_token_id"))
    found = named if isinstance(named, list) else [named]
    return list(dict.fromkeys(int(token) for token in found if token is not None and int(token) >= 0))


def merge(base: Path, adapters: Adapters, out: Path, *, progress: Progress | None = None) -> Export:
    """Write base + adapters as a Hugging Face folder: shards as the base has them, in its types, with its tokenizer and
    settings. Every weighted delta is added, in the order given.

    Args:
        base: A Hugging Face model folder: config.json, tokenizer and *.safetensors.
        adapters: PEFT folders, by path or as `AdapterSource` with a weight; at least one.
        out: The folder to make; it appears whole or not at all.
        progress: Called as (stage, done, total).

    Returns:
        The export.

    Raises:
        ConversionError: For a base that cannot be read, or numbers beyond what its type holds.
        AdapterError: For an adapter that does not fit, with what does not.
        StorageError: Where `out` cannot be written.

    Examples:
        >>> export = edge_converters.merge(Path("phi-3-mini"), [Path("my-lora")], Path("merged"))
        >>> Path(export.path).name, Path(export.manifest).name
        ('merged', 'merged.manifest.json')
    """
    started = time.monotonic()
    base, out, adapters = Path(base), Path(out), adapter_sources(adapters)
    if not adapters:
        raise ConversionError(f"nothing to merge into {base}; name at least one adapter")
    weights = Merged(Checkpoint(base), adapters)
    total = sum(info.nbytes for info in weights.tensors.values())
    with atomic_output(out, needs=total + (1 << 20)) as folder:
        folder.mkdir()
        _write_weights(weights, folder, total, progress or (lambda stage, done, total: None))
        _write_settings(weights, folder)
    return write_manifest(
        out, "merged", base=Path(base), adapters=adapters, options={}, applied=weights.applied, started=started
    )


def _write_weights(weights: Merged, folder: Path, total: int, progress: Progress) -> None:
    done = 0
    shards: dict[str, list[str]] = {file.name: [] for file in weights.files}
    for name, info in weights.tensors.items():
        shards[info.file.name].append(name)
    for shard, names in shards.items():
        with (folder / shard).open("wb") as file:
            _write_header(file, weights, names)
            for chunk in compute_chunks(chain.from_iterable(_chunks(weights, name) for name in names)):
                file.write(chunk)
                done += len(chunk)
                progress("merge", done, total)
    if list(shards) != [SINGLE]:
        index = {
            "metadata": {"total_size": total},
            "weight_map": {name: shard for shard, names in shards.items() for name in names},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_header(file: BinaryIO, weights: Merged, names: list[str]) -> None:
    """Safetensors' header: its length in 8 bytes, JSON, blanks up to a multiple of 8."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in names:
        info = weights.tensors[name]
        header[name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [position, position + info.nbytes],
        }
        position += info.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)


def _chunks(weights: Merged, name: str) -> Iterator[ChunkSource]:
    """What computes the bytes of a tensor of the merged model, in the base's type."""
    if not weights.touched(name):
        stored = weights.bytes_of(name)
        for start in range(0, len(stored), _CHUNK):
            yield partial(memoryview.__getitem__, stored, slice(start, start + _CHUNK))
        return
    shape = weights.tensors[name].shape
    rows = max(1, _CHUNK * shape[0] // max(1, weights.tensors[name].elements * 4))
    # Whole blocks of the merge, or their seams would be computed twice.
    step = -(-rows // weights.block_rows(name)) * weights.block_rows(name)
    for start in range(0, shape[0], step):
        yield partial(_cast, weights, name, slice(start, start + step))


def _cast(weights: Merged, name: str, rows: slice) -> memoryview:
    dtype = weights.stored_dtype(name)
    chunk = weights.read(name, rows).to(dtype)
    if not is_finite(chunk):
        raise ConversionError(
            f"{name} of {weights.directory} with its adapters has numbers beyond what {dtype} holds; "
            "take the base in bfloat16 or float32"
        )
    return bytes_of(chunk)


def _write_settings(weights: Merged, folder: Path) -> None:
    """Everything but the weights: copied, and config.json as the merged model needs it."""
    skipped = {INDEX, "config.json"}
    for file in sorted(weights.directory.iterdir()):
        if file.is_file() and file.suffix in _COPIED and file.name not in skipped and not file.name.startswith("."):
            shutil.copyfile(file, folder / file.name)
    templates = weights.directory / "additional_chat_templates"
    if templates.is_dir():
        shutil.copytree(templates, folder / templates.name)
    if weights.tokenizer != weights.directory:
        for pattern in _TOKENIZER:
            for file in weights.tokenizer.glob(pattern):
                shutil.copyfile(file, folder / file.name)
    original = weights.directory / "config.json"
    if weights.config == weights.base.config:
        shutil.copyfile(original, folder / original.name)
    else:
        text = json.dumps(weights.config, indent=2, ensure_ascii=False) + "\n"
        (folder / original.name).write_text(text, encoding="utf-8")
