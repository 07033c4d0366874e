"""A LoRA as a loaded model wants it: of the engine's own format, made from a PEFT directory where it is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.engines.llamacpp.gguf_check import check_gguf
from edge.engines.llamacpp.gguf_header import GgufHeader
from edge.errors import AdapterError, ModelError
from edge.system import paths
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
    if onnx or not source.is_file():
        return adapter
    ranks = ranks_of(read_lora_header(source))
    return replace(adapter, modules=len(ranks), ranks=tuple(sorted(set(ranks))))


def read_lora_header(source: Path) -> GgufHeader:
    """The header of a GGUF LoRA. Raises AdapterError for any other file."""
    try:
        header = check_gguf(source, kind="adapter")
    except ModelError as error:
        raise AdapterError(f"{source} is no GGUF LoRA or is damaged: {error}") from error
    if header.settings.get("general.type") != "adapter":
        raise AdapterError(f"{source} is a model and no LoRA; name a GGUF LoRA that was made for this base")
    return header


def ranks_of(lora: GgufHeader) -> list[int]:
    """The rank of every module that a GGUF LoRA changes."""
    return [tensor.shape[0] for name, tensor in lora.tensors.items() if name.endswith(".lora_a")]
