"""From a file, a folder or a name to a model that speaks: which engine runs it, and how far loading it has come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Literal, get_args

from edge import arguments
from edge.engines.contract import Engine
from edge.library import find_model
from edge.log import logger
from edge.model import Model

KvType = Literal["f16", "q8_0", "q4_0"]


def load(
    model: str | Path,
    *,
    engine: Literal["auto", "gguf", "onnx"] = "auto",
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int | Literal["all", "auto"] | None = None,
    kv_type: KvType = "f16",
    provider: str | None = None,
    kv_budget: float = 2.0,
    force: bool = False,
    queue_timeout: float | None = None,
    progress: Callable[[float], object] | None = None,
) -> Model:
    """Load a model by path or by its name in the library; nothing is downloaded.

    Args:
        model: A GGUF file, which runs on llama.cpp, a folder with a genai_config.json, which runs on onnxruntime-genai,
            or a name (`edge models list`).
        engine: Chooses where a name stands for models of both.
        context: Tokens that prompt and reply share; None takes what suits the model.
        threads: Threads that compute; None takes the physical cores.
        gpu_layers: For GGUF: layers on the GPU. None and "auto" take as many as fit into free GPU memory.
        kv_type: For GGUF: the type of the KV cache.
        provider: For ONNX: "cpu", "cuda" or "dml".
        kv_budget: For GGUF: gigabytes in the cache directory for KV caches of passages and chats; 0 keeps none.
        force: Load a model that does not fit into free memory all the same.
        queue_timeout: Seconds to wait for a turn, see `Model`; None waits for ever.
        progress: Called with how much is done, 0 to 1, the last time 1; what it raises ends the loading.

    Returns:
        The model; use it in a `with` block, or `close` it.

    Raises:
        UsageError: For an argument that makes no sense.
        ModelNotFound: Where there is no such model.
        ModelTooLarge: For one that does not fit, with the numbers and what would.
        ModelError: For one that is damaged or cannot be run.
        MissingExtra: Where the engine is not installed.

    Examples:
        >>> with edge.load("smollm2", context=512) as small:
        ...     small.context
        512
    """
    wanted = arguments.path("model", model)
    arguments.choice("engine", engine, ("auto", "gguf", "onnx"))
    arguments.choice("kv_type", kv_type, get_args(KvType))
    for name, value in (("context", context), ("threads", threads)):
        if value is not None:
            arguments.whole(name, value, 1)
    if gpu_layers not in (None, "all", "auto"):
        arguments.whole("gpu_layers", gpu_layers, 0)
    arguments.number("kv_budget", kv_budget, 0)
    path = find_model(wanted, engine=None if engine == "auto" else engine)
    report = _rising(progress)
    report(0.0)
    began = perf_counter()
    if not path.is_dir():
        from edge.engines.llamacpp.engine import LlamaCppEngine

        made: Engine = LlamaCppEngine(
            path,
            context=context,
            threads=threads,
            gpu_layers=gpu_layers,
            kv_type=kv_type,
            kv_budget=int(kv_budget * 1e9),
            force=force,
            progress=report,
        )
    else:
        from edge.engines.onnx.engine import OnnxEngine

        made = OnnxEngine(path, context=context, threads=threads, provider=provider, force=force)
    loaded = Model(made, name=path.name if path.is_dir() else path.stem, path=path, queue_timeout=queue_timeout)
    try:
        report(1.0)
    except BaseException:
        loaded.close()
        raise
    logger("model").info(
        "%s loaded in %.1f s: %s, context %d", loaded.name, perf_counter() - began, made.device, made.context
    )
    return loaded


def _rising(progress: Callable[[float], object] | None) -> Callable[[float], None]:
    """Tells `progress` only what is more than before."""
    reported = -1.0

    def report(share: float) -> None:
        nonlocal reported
        if progress is not None and share > reported:
            reported = share
            progress(share)

    return report
