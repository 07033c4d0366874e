"""llama.cpp's own quantiser, run in this process, with an importance matrix where one is given."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.llamacpp.bindings import bindings, forget_errors, last_error, load_model
from edge.errors import ConversionError, ModelError
from edge.system.machine import physical_cores
from edge_converters.gguf.importance import Importance

if TYPE_CHECKING:
    import gguf

BITS = {
    "q6_k": 6.8, "q5_k_m": 6.0, "q5_k_s": 5.8, "q4_k_m": 5.2, "q4_k_s": 4.9, "q4_0": 4.9, "q3_k_m": 4.4, "q2_k": 3.6,
}  # fmt: skip
"""The quantised types and how many bits a weight takes in them at most, on average over a model."""

# Rows of a tensor that the quantiser holds at once; without a limit it is the whole tensor in float32.
_BUFFER = 256 << 20
_POLL = 0.2


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
    # How large the output will be is not known before; llama.cpp tells a fraction only in its log.
    total = source.stat().st_size

    def tell() -> None:
        if out.is_file():
            progress(min(out.stat().st_size, total - 1), total)

    failed = _in_thread(lambda: _quantise(source, out, precision, importance), tell)
    reason = last_error() if failed else _damage(out)
    if reason:
        if shutil.disk_usage(out.parent).free < _BUFFER:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
        raise ConversionError(f"llama.cpp could not quantise {out.name} to {precision}: {reason}")
    progress(1, 1)


class QuantPlan:
    """What llama.cpp's quantiser makes of a model: `types`, ggml's type for every tensor by name, and what it notes of
    an importance matrix.

    It is asked, not imitated: it quantises a miniature of the model. `source` is a GGUF file with the model's
    settings, and every tensor's name, columns and number of axes. Raises ConversionError with llama.cpp's reason.
    """

    def __init__(self, source: Path, precision: str, importance: Importance | None) -> None:
        import gguf

        out = source.with_suffix(".quantised")
        if _quantise(source, out, precision, importance):
            raise ConversionError(f"llama.cpp could not quantise to {precision}: {last_error()}")
        reader = gguf.GGUFReader(out)
        self.types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
        self._notes = [field for key, field in reader.fields.items() if key.startswith("quantize.")]

    def write_notes(self, writer: gguf.GGUFWriter) -> None:
        """Write the notes."""
        for field in self._notes:
            writer.add_key_value(field.name, field.contents(), field.types[0])


def _quantise(source: Path, out: Path, precision: str, importance: Importance | None) -> int:
    """0 when llama.cpp finds that all went well."""
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
    return int(lib.llama_model_quantize(bytes(source), bytes(out), params))


def _in_thread(call: Callable[[], int], meanwhile: Callable[[], None]) -> int:
    """The result of a call that takes minutes, in a thread of its own, so that Ctrl-C and progress come through."""
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL)
        meanwhile()
    return result[0] if result else 1


def _damage(path: Path) -> str:
    """Why llama.cpp does not find all tensors within the file, "" if it does: it notices no full disk while it
    quantises."""
    try:
        bindings().llama_model_free(load_model(path, vocab_only=True))
    except ModelError as error:
        return str(error)
    return ""


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
