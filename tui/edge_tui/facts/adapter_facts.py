"""What `edge adapters show` and the chat's picker say of a LoRA: read from its files, no weights loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.errors import AdapterError


def facts(path: Path) -> dict[str, Any]:
    """What the files say; the keys are those of `--json`. Raises AdapterError for something that is no LoRA."""
    from edge import library

    facts: dict[str, Any] = {"name": library.adapter_name(path), "path": str(path)}
    if path.is_dir():
        from edge_converters.lora.peft_adapter import Lora

        lora = Lora(path)
        modules = lora.modules.values()
        return facts | {
            "format": "peft",
            "trained_on": lora.config.get("base_model_name_or_path"),
            "modules": len(modules),
            "ranks": sorted({module.rank for module in modules}),
            "alpha": lora.config.get("lora_alpha"),
            "targets": sorted({module.name.rpartition(".")[2] for module in modules}),
            "replaces": sorted(lora.replaced),
        }
    if path.suffix == ".gguf":
        from edge.adapters import ranks_of, read_lora_header

        header = read_lora_header(path)
        ranks = ranks_of(header)
        return facts | {
            "format": "gguf",
            "architecture": header.settings.get("general.architecture"),
            "modules": len(ranks),
            "ranks": sorted(set(ranks)),
            "alpha": header.settings.get("adapter.lora.alpha"),
        }
    if path.suffix == ".onnx_adapter":
        return facts | {"format": "onnx"}
    raise AdapterError(f"{path} is no LoRA; give a PEFT folder, a *.gguf file or an *.onnx_adapter file")


def misfit(adapter: Path, model: Path) -> str | None:
    """Why a LoRA cannot be used with a model, by the shapes that their files tell; None where nothing speaks against
    it. Of an `.onnx_adapter` only loading it can tell. Raises AdapterError or ConversionError for damaged files.
    """
    if adapter.is_dir():
        from edge_converters.exported_base import ExportedBase
        from edge_converters.lora.merge import Merged
        from edge_converters.types import AdapterSource

        try:
            Merged(ExportedBase(model), [AdapterSource(adapter)])
        except AdapterError as error:
            return str(error)
        return None
    if model.is_dir() != (adapter.suffix == ".onnx_adapter"):
        made_for, runs_on = ("llama.cpp", "onnxruntime-genai") if model.is_dir() else ("onnxruntime-genai", "llama.cpp")
        return f"it is for {made_for}, and {model.name} runs on {runs_on}"
    return None if model.is_dir() else _gguf_misfit(adapter, model)


def _gguf_misfit(adapter: Path, model: Path) -> str | None:
    from edge.adapters import read_lora_header
    from edge.engines.llamacpp.gguf_header import read_gguf_header

    lora, base = read_lora_header(adapter), read_gguf_header(model)
    made_for, is_a = (header.settings.get("general.architecture") for header in (lora, base))
    if made_for != is_a:
        return f"it was made for the architecture {made_for}, and {model.name} is a {is_a}"
    for name, tensor in lora.tensors.items():
        changed, lora_, half = name.rpartition(".lora_")
        if not lora_:
            continue
        wanted = base.tensors.get(changed)
        if wanted is None:
            return f"it changes {changed}, which {model.name} does not have"
        # A's rows are as long as the base's, B has as many; the two are the other way round for embeddings.
        axis = -1 if half == "a" else 0
        if changed != "token_embd.weight" and tensor.shape[axis] != wanted.shape[axis]:
            return f"it was made for another size of {changed} than {model.name} has"
    return None
