"""A LoRA as a loaded model wants it: of the engine's own format, made from a PEFT directory where it is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge import paths
from edge.engines.gguf_check import check_gguf
from edge.errors import AdapterError, ModelError
from edge.types import Adapter


def fitting(adapter: Adapter, model: Path) -> Adapter:
    """The same adapter with the path of a file that the engine of `model` reads.

    A PEFT directory is converted once and kept in the cache, by the SHA-256 of its files. Raises AdapterError.
    """
    source, onnx = Path(adapter.path), model.is_dir()
    if source.is_dir():
        if not (source / "adapter_config.json").is_file():
            raise AdapterError(f"{source} has no adapter_config.json; name the folder of a LoRA as PEFT saves it")
        # The one place where the runtime asks the converters: whoever loads a PEFT directory wants it converted.
        from edge_converters.adapter import adapter_for

        made = adapter_for(source, model, cache=paths.cache_dir() / "adapters")
        return replace(adapter, path=str(made.path), modules=made.modules, ranks=made.ranks)
    suffix, engine = (".onnx_adapter", "onnxruntime-genai") if onnx else (".gguf", "llama.cpp")
    if source.suffix != suffix:
        raise AdapterError(
            f"{source} cannot be used with {model.name}, which runs on {engine}: name a *{suffix} file, or the folder "
            "of the LoRA as PEFT saved it"
        )
    return adapter if onnx or not source.is_file() else _described(adapter, source)


def _described(adapter: Adapter, source: Path) -> Adapter:
    """What the header of a GGUF LoRA says, which llama.cpp would not tell."""
    try:
        header = check_gguf(source, kind="adapter")
    except ModelError as error:
        raise AdapterError(f"{source} is no GGUF LoRA or is damaged: {error}") from error
    if header.settings.get("general.type") != "adapter":
        raise AdapterError(f"{source} is a model and no GGUF LoRA; name a LoRA that was made for this base")
    ranks = [tensor.shape[0] for name, tensor in header.tensors.items() if name.endswith(".lora_a")]
    return replace(adapter, modules=len(ranks), ranks=tuple(sorted(set(ranks))))
