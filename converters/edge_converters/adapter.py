"""A PEFT directory -> a LoRA that an engine swaps at run time: GGUF for llama.cpp, `.onnx_adapter` for
onnxruntime-genai.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edge.adapters import ConvertedAdapter
from edge.errors import AdapterError, ConversionError
from edge_converters.lora.peft_adapter import Lora
from edge_converters.output import weights_sha256
from edge_converters.types import AdapterSource, Export, Progress

# Grows whenever adapters are written in another way.
_FORMAT = 1


def convert_for_engine(adapter: Path, model: Path, *, cache: Path) -> ConvertedAdapter:
    """The PEFT directory `adapter` for the engine that runs `model`, a GGUF file or an ONNX folder with slots.

    Whether it fits is checked every time; it is converted once and kept in `cache`, by the SHA-256 of its files and
    the shapes of the model. Raises AdapterError, ConversionError, StorageError, MissingExtra.
    """
    from edge_converters.exported_base import ExportedBase
    from edge_converters.lora.merge import Merged

    base = ExportedBase(model)
    lora = Lora(adapter)
    if lora.replaced or lora.tokens:
        raise AdapterError(
            f"{adapter} brings whole tensors ({[*lora.replaced, *lora.tokens][0]}), which cannot be swapped at run "
            f"time; merge it into the model instead: edge convert {'onnx' if model.is_dir() else 'gguf'} BASE "
            f"--adapter {adapter}"
        )
    [done] = Merged(base, [AdapterSource(adapter)]).applied.adapters
    shapes = {name: info.shape for name, info in base.tensors.items()}
    identity = [_FORMAT, model.is_dir(), base.half, base.config, shapes, weights_sha256(adapter)]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    out = cache / key / f"{adapter.resolve().name}{'.onnx_adapter' if model.is_dir() else '.gguf'}"
    if not out.is_file():
        if model.is_dir():
            from edge_converters.onnx.adapter import write_adapter

            write_adapter(adapter, out, base, half=base.half)
        else:
            from edge_converters.gguf.lora import lora_to_gguf

            lora_to_gguf(adapter, out, base=base)
    return ConvertedAdapter(out, done.modules, done.ranks)


def export_adapter(
    adapter: Path,
    out: Path,
    *,
    base: Path,
    base_out: Path | None = None,
    precision: str | None = None,
    provider: str = "cpu",
    progress: Progress | None = None,
) -> Export:
    """Write the PEFT directory `adapter`, trained on the model of `base`, as `out`: by its suffix a GGUF LoRA
    (`.gguf`) or an `.onnx_adapter`.

    `precision`: of the tensors of a GGUF LoRA; for an `.onnx_adapter` that of the base with adapter slots, which
    is written as the folder `base_out` where that is given, for `provider`. Raises ConversionError,
    AdapterError for an adapter that does not fit `base`, StorageError and MissingExtra.
    """
    out = Path(out)
    chosen: dict[str, Any] = {} if precision is None else {"precision": precision}
    if out.suffix == ".onnx_adapter":
        from edge_converters.onnx.adapter import to_onnx_adapter

        return to_onnx_adapter(
            adapter, out, base=base, base_out=base_out, provider=provider, progress=progress, **chosen
        )
    if out.suffix != ".gguf":
        raise ConversionError(f"{out} tells no format; let the name end in .gguf or .onnx_adapter")
    if base_out is not None:
        raise ConversionError(
            f"{base_out} cannot be written: only an .onnx_adapter has a base of its own, "
            "a GGUF LoRA fits the model that `edge convert gguf` makes"
        )
    from edge_converters.gguf.lora import lora_to_gguf

    return lora_to_gguf(adapter, out, base=base, progress=progress, **chosen)
