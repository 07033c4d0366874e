"""GGUF files and the bindings that read them: loading, the reasons when it fails, and what the metadata says."""

from __future__ import annotations

import ctypes
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.engines.llamacpp.gguf_check import check_gguf
from edge.errors import MissingExtra, ModelError
from edge.log import logger

_log: deque[tuple[int, str]] = deque(maxlen=60)
_WARNING, _ERROR, _CONTINUED = 3, 4, 5
_FUNCTION = re.compile(r"^[\w:~]+: ")
_NO_CAUSE = "failed to load model"

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
        _log_callback = llama_cpp.llama_log_callback(_record())
        llama_cpp.llama_log_set(_log_callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        _bindings = llama_cpp
    return _bindings


def _record() -> Callable[[int, bytes, Any], None]:
    """A log that keeps warnings and errors; what continues a message has the level of what it continues.

    Whoever listens to the logger `edge.llama` at DEBUG hears everything, line by line.
    """
    current, line = 0, b""
    heard = logger("llama")

    def record(level: int, text: bytes, _data: Any) -> None:
        nonlocal current, line
        current = current if level == _CONTINUED else level
        line += text
        if line.endswith(b"\n"):
            heard.debug("%s", line.decode("utf-8", "replace").rstrip())
            line = b""
        if current >= _WARNING:
            _log.append((current, text.decode("utf-8", "replace")))

    return record


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
        raise ModelError(_explain_load_failure(path, last_error()))
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


def _explain_load_failure(path: Path, reason: str) -> str:
    if re.search(r"unknown (model architecture|pre-tokenizer type|tokenizer)\b", reason):
        advice = "this llama.cpp does not know it: update llama-cpp-python or take another model"
    elif "unordered_map::at" in reason:
        advice = "by its name llama.cpp expects Phi-3's tokens, which it lacks: convert it again under another name"
    elif re.search(r"not within (the )?file bounds|corrupted or incomplete|failed to read|unexpected(ly)? end", reason):
        size = path.stat().st_size
        advice = f"the file is truncated or damaged ({size:,} bytes): download or convert it again"
    else:
        advice = "check the file with its SHA-256 or fetch it again"
    return f"{path} cannot be loaded; llama.cpp says: {reason}; {advice}"


def forget_errors() -> None:
    """Call before what may fail, so that `last_error` tells of nothing older."""
    _log.clear()


def last_error() -> str:
    """llama.cpp's own last words: its errors, of which the first is the cause, or its last warning if it had none."""
    errors = [line for line in _lines(_ERROR) if line != _NO_CAUSE]
    said = errors[-3:] or _lines(_ERROR)[-1:] or _lines(_WARNING)[-1:]
    return "; ".join(said) or "llama.cpp gave no reason"


def _lines(level: int) -> list[str]:
    """What was said at a level, each line once and without the function's name."""
    text = "".join(text for known, text in _log if known == level)
    lines = (_FUNCTION.sub("", line).strip(" ;") for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line.strip("=")))
