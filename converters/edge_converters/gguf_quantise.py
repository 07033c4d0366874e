"""llama.cpp's own quantiser, run in this process, with an importance matrix where one is given.

The formats of importance matrices: https://github.com/ggml-org/llama.cpp/tree/master/tools/imatrix.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.gguf import bindings, forget_errors, last_error, load_model
from edge.errors import ConversionError, ModelError
from edge.machine import physical_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS = {
    "q6_k": 6.8, "q5_k_m": 6.0, "q5_k_s": 5.8, "q4_k_m": 5.2, "q4_k_s": 4.9, "q4_0": 4.9, "q3_k_m": 4.4, "q2_k": 3.6,
}  # fmt: skip
"""The quantised types and how many bits a weight takes in them at most, on average over a model."""

# Rows of a tensor that the quantiser holds at once; without a limit it is the whole tensor in float32.
_BUFFER = 256 << 20
_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Importance:
    """How much every input of a weight matters: a float32 per column, by the name of the GGUF tensor."""

    path: Path
    values: Mapping[str, NDArray[np.float32]]
    chunks: int


def quantise(
    source: Path,
    out: Path,
    precision: str,
    importance: Importance | None,
    progress: Callable[[int, int], None],
) -> None:
    """Write the GGUF file `source` (f32, f16 or bf16) to `out` in one of BITS, on all cores.

    Raises ConversionError with llama.cpp's reason, OSError when the disk is full.
    """
    import gguf

    lib = bindings()
    params = lib.llama_model_quantize_default_params()
    params.nthread = physical_cores()
    params.ftype = gguf.LlamaFileType[f"MOSTLY_{precision.upper()}"].value
    params.max_buf_size = _BUFFER
    # The structures point into these arrays, which must live as long as the call.
    entries, notes = (_entries(lib, importance), _notes(lib, importance)) if importance else (None, None)
    if entries is not None:
        params.imatrix, params.kv_overrides = entries, notes
    forget_errors()
    failed = _run(lambda: int(lib.llama_model_quantize(bytes(source), bytes(out), params)), source, out, progress)
    reason = last_error()
    if failed or not _is_whole(out):
        if shutil.disk_usage(out.parent).free < _BUFFER:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
        raise ConversionError(f"llama.cpp could not quantise {out.name} to {precision}: {reason}")
    progress(1, 1)


def _run(call: Callable[[], int], source: Path, out: Path, progress: Callable[[int, int], None]) -> int:
    """The result of a call that takes minutes, in a thread of its own, so that Ctrl-C and progress come through."""
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()
    # How large the output will be is not known before; llama.cpp tells a fraction only in its log.
    total = source.stat().st_size
    while thread.is_alive():
        thread.join(_POLL)
        if out.is_file():
            progress(min(out.stat().st_size, total - 1), total)
    return result[0] if result else 1


def _is_whole(path: Path) -> bool:
    """Whether llama.cpp finds all tensors within the file; it notices no full disk while it quantises."""
    try:
        bindings().llama_model_free(load_model(path, vocab_only=True))
    except ModelError:
        return False
    return True


def read_importance(path: Path) -> Importance:
    """Both formats: GGUF, and the older .dat. Raises ConversionError when it is neither."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        found = _from_gguf(path) if magic == b"GGUF" else _from_dat(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise ConversionError(f"{path} is no importance matrix or is damaged ({error}); make it again") from error
    if not found.values:
        raise ConversionError(f"{path} holds no importance matrix; make one with llama.cpp's llama-imatrix")
    return found


def check_importance(importance: Importance, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ConversionError unless every weight of the blocks has its values, as many as it has columns.

    llama.cpp itself passes over a weight without values in silence.
    """
    for name, shape in shapes.items():
        if not name.startswith("blk.") or len(shape) < 2:
            continue
        values = importance.values.get(name)
        if values is None or len(values) != shape[-1]:
            found = "no values" if values is None else f"{len(values)} values"
            raise ConversionError(
                f"{importance.path} has {found} for {name}, which has {shape[-1]} columns: it was made for another "
                "model; make one for this model with llama.cpp's llama-imatrix"
            )


def _from_gguf(path: Path) -> Importance:
    """Sums of squared activations and how often they were added, a pair of tensors for every weight."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    values: dict[str, NDArray[np.float32]] = {}
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            weight = name.removesuffix(".in_sum2")
            counts = np.rint(tensors[f"{weight}.counts"]).astype(np.float32).reshape(-1, 1)
            per_expert = np.asarray(sums, dtype=np.float32).reshape(len(counts), -1)
            mean = np.divide(per_expert, counts, out=np.ones_like(per_expert), where=counts > 0)
            values[weight] = mean.reshape(-1).astype(np.float32)
    chunks = reader.get_field("imatrix.chunk_count")
    return Importance(path, values, int(chunks.contents()) if chunks else 0)


def _from_dat(path: Path) -> Importance:
    """Number of entries; for each: length and name, calls, number of values, values. All little-endian, 4 bytes."""
    import numpy as np

    data = path.read_bytes()
    position = 0

    def number() -> int:
        nonlocal position
        position += 4
        return int(struct.unpack_from("<i", data, position - 4)[0])

    values: dict[str, NDArray[np.float32]] = {}
    for _ in range(number()):
        length = number()
        name = data[position : position + length].decode("utf-8")
        position += length
        calls, count = number(), number()
        if count < 1 or position + 4 * count > len(data):
            raise ValueError("it ends in the middle of an entry")
        sums = np.frombuffer(data, "<f4", count, position)
        position += 4 * count
        values[name] = (sums / calls if calls > 0 else sums).astype(np.float32)
    return Importance(path, values, number() if position + 4 <= len(data) else 0)


def _entries(lib: Any, importance: Importance) -> Any:
    """llama.cpp's array of (name, data, size), with an empty one at its end."""
    entries = (lib.llama_model_imatrix_data * (len(importance.values) + 1))()
    for entry, (name, values) in zip(entries, importance.values.items(), strict=False):
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    return entries


def _notes(lib: Any, importance: Importance) -> Any:
    """Metadata that llama.cpp's own tool writes beside quantised weights: which matrix, of how much text."""
    notes = (lib.llama_model_kv_override * 4)()
    notes[0].key, notes[0].tag = b"quantize.imatrix.file", lib.LLAMA_KV_OVERRIDE_TYPE_STR
    notes[0].value.val_str = importance.path.name.encode()[:127]
    for note, key, value in (
        (notes[1], b"quantize.imatrix.entries_count", len(importance.values)),
        (notes[2], b"quantize.imatrix.chunks_count", importance.chunks),
    ):
        note.key, note.tag = key, lib.LLAMA_KV_OVERRIDE_TYPE_INT
        note.value.val_i64 = value
    return notes
