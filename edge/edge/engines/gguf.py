"""GGUF files and the bindings that read them: loading, the reasons when it fails, and what the metadata says."""

from __future__ import annotations

import ctypes
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.engines.gguf_check import check_gguf
from edge.errors import MissingExtra, ModelError

_log: deque[str] = deque(maxlen=60)
_LOG_WARN = 3

_bindings: ModuleType | None = None
_log_callback: Any = None


def bindings() -> ModuleType:
    """llama-cpp-python's functions, silent; what llama.cpp has to say is kept for `last_error`.

    Raises MissingExtra.
    """
    global _bindings, _log_callback
    if _bindings is None:
        try:
            import llama_cpp
        except ImportError as error:
            raise MissingExtra("llama-cpp-python", "gguf") from error
        _log_callback = llama_cpp.llama_log_callback(
            lambda level, text, _data: _log.append(text.decode("utf-8", "replace")) if level >= _LOG_WARN else None
        )
        llama_cpp.llama_log_set(_log_callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        _bindings = llama_cpp
    return _bindings


def load_model(
    path: Path,
    *,
    gpu_layers: int | None = None,
    vocab_only: bool = False,
    progress: Callable[[float], object] | None = None,
) -> Any:
    """A model pointer, memory-mapped. Raises ModelNotFound or ModelError with the reason.

    `progress` is told the share of the weights that is read, 0 to 1; what it raises ends the loading and comes out.
    """
    check_gguf(path, vocab_only=vocab_only)
    lib = bindings()
    params = lib.llama_model_default_params()
    params.vocab_only = vocab_only
    # A llama.cpp that was built with AMX crashes on machines that have it (its pull request 26954): the tile
    # configuration is optimised away. Without the extra buffer types it takes AVX-512 instead.
    params.use_extra_bufts = b"AMX_INT8 = 1" not in lib.llama_print_system_info()
    offload = lib.llama_supports_gpu_offload() and not vocab_only
    params.n_gpu_layers = (-1 if offload else 0) if gpu_layers is None else gpu_layers
    raised: list[BaseException] = []
    if progress is not None:
        params.progress_callback = lib.llama_progress_callback(_until_it_raises(progress, raised))
    forget_errors()
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if raised:
        if model:
            lib.llama_model_free(model)
        raise raised[0]
    if not model:
        raise ModelError(_explain_load_failure(path, "".join(_log)))
    return model


def _until_it_raises(
    progress: Callable[[float], object], raised: list[BaseException]
) -> Callable[[float, object], bool]:
    """What llama.cpp calls: False ends the loading. No exception may pass through it."""

    def report(share: float, _data: object) -> bool:
        try:
            progress(share)
        except BaseException as error:  # whatever it was, it is raised again where the model was asked for
            raised.append(error)
        return not raised

    return report


def _explain_load_failure(path: Path, log: str) -> str:
    unknown = re.search(r"unknown model architecture: '([^']*)'", log)
    if unknown:
        return (
            f"{path} is of the architecture {unknown[1]!r}, which this llama.cpp does not know; "
            "update llama-cpp-python or take another model"
        )
    if re.search(r"not within (the )?file bounds|corrupted or incomplete|failed to read|unexpected(ly)? end", log):
        return f"{path} is truncated or damaged ({path.stat().st_size:,} bytes); download or convert it again"
    return f"{path} cannot be loaded: {last_error()}; check the file with its SHA-256 or fetch it again"


def forget_errors() -> None:
    """Call before what may fail, so that `last_error` tells of nothing older."""
    _log.clear()


def last_error() -> str:
    """The last warning or error of llama.cpp."""
    lines = [line.strip() for line in "".join(_log).splitlines() if line.strip()]
    return lines[-1] if lines else "llama.cpp gave no reason"
