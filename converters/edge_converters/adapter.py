"""A PEFT directory -> a LoRA that an engine swaps at run time: GGUF for llama.cpp, `.onnx_adapter` for
onnxruntime-genai.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.errors import ConversionError
from edge_converters.publish import Export, Progress


def to_adapter(
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
        from edge_converters.onnx_adapter import to_onnx_adapter

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
    from edge_converters.gguf_lora import lora_to_gguf

    return lora_to_gguf(adapter, out, base=base, progress=progress, **chosen)
