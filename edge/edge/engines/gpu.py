"""Which layers of a GGUF model a GPU computes, by the free memory that ggml's devices report."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Literal

from edge.engines.llamacpp.bindings import bindings
from edge.engines.llamacpp.gguf_header import read_gguf_header
from edge.engines.memory_fit import fit_of
from edge.errors import UsageError

_GPU = 1
"""ggml_backend_dev_type of a GPU with memory of its own; integrated ones (2) share the machine's."""

_RESERVE = 0.9
"""Of the free memory; the rest is for what the driver and other programs still take."""

ALL = -1


def offloaded(
    path: Path, wanted: int | Literal["all", "auto"] | None, *, context: int | None, kv_type: str
) -> tuple[int, str]:
    """How many layers go to the GPU (-1: all of them) and what it calls itself; (0, "") without one.

    None and "auto" take as many as fit into the GPU's free memory with their share of the KV cache.
    Raises UsageError for a number below zero.
    """
    if isinstance(wanted, int) and wanted < 0:
        raise UsageError(f"gpu_layers is {wanted}; give 0 or more, 'all' or 'auto'")
    there = gpus()
    if not there or wanted == 0:
        return 0, ""
    name = there[0][0]
    if isinstance(wanted, int):
        return wanted, name
    if wanted == "all":
        return ALL, name
    settings = read_gguf_header(path).settings
    layers = int(settings.get(f"{settings['general.architecture']}.block_count", 0)) + 1
    fit = fit_of(path, context=context, kv_type=kv_type)
    room = int(sum(free for _, free in there) * _RESERVE) - fit.scratch
    fitting = max(0, min(layers, room * layers // max(1, fit.weights + fit.kv)))
    return (ALL if fitting == layers else fitting), name


def gpus() -> list[tuple[str, int]]:
    """Name and free bytes of every GPU that this build of llama.cpp can use."""
    if not bindings().llama_supports_gpu_offload():
        return []
    from llama_cpp._ggml import libggml

    pointer = ctypes.c_void_p
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    libggml.ggml_backend_dev_get.argtypes, libggml.ggml_backend_dev_get.restype = [ctypes.c_size_t], pointer
    libggml.ggml_backend_dev_type.argtypes = [pointer]
    libggml.ggml_backend_dev_description.argtypes = [pointer]
    libggml.ggml_backend_dev_description.restype = ctypes.c_char_p
    size = ctypes.POINTER(ctypes.c_size_t)
    libggml.ggml_backend_dev_memory.argtypes, libggml.ggml_backend_dev_memory.restype = [pointer, size, size], None
    found = []
    for index in range(libggml.ggml_backend_dev_count()):
        device = libggml.ggml_backend_dev_get(index)
        if libggml.ggml_backend_dev_type(device) == _GPU:
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            libggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
            name = libggml.ggml_backend_dev_description(device).decode("utf-8", "replace")
            found.append((name, int(free.value)))
    return found
