"""The conversions that everybody calls: what the folders of each format write, and the proof of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_converters.onnx.export import Precision, Provider
    from edge_converters.types import Adapters, Export, Progress


def to_gguf(
    base: Path,
    out: Path,
    *,
    adapters: Adapters = (),
    precision: str = "f16",
    imatrix: Path | None = None,
    converter: Path | None = None,
    verify: bool = True,
    prompts: Path | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a GGUF file and prove that it says what the model of `base` with `adapters` says.

    Args:
        base: A Hugging Face model folder: config.json, tokenizer and *.safetensors.
        out: The file to write; its name ends in .gguf.
        adapters: PEFT folders, merged in float32 on the way, by path or as `AdapterSource` with a weight.
        precision: f32, f16, bf16, q8_0, or one of llama.cpp's quantised types (q6_k … q2_k).
        imatrix: An importance matrix for the quantised types, as llama.cpp's llama-imatrix writes it.
        converter: A llama.cpp checkout whose converter runs instead of edge's own.
        verify: Compare the export with the original; False leaves it unproved.
        prompts: A file of your own prompts for the proof: one a line, or JSON lines.
        progress: Called as (stage, done, total).

    Returns:
        The export, with its proof as `parity`, which also stands beside it as NAME.parity.json.

    Raises:
        ParityError: The export says something else; it is NAME.failed.gguf now.
        ConversionError: The model, its tokeniser or the importance matrix cannot be converted.
        AdapterError: An adapter does not fit.
        StorageError: `out` cannot be written.
        UsageError: A precision or name that makes no sense.
        MissingExtra: A package is not installed.

    Examples:
        >>> export = edge_converters.to_gguf(Path("phi-3-mini"), Path("small.gguf"), precision="q8_0", verify=False)
        >>> export.kind, export.parity
        ('gguf', None)
    """
    from edge_converters.gguf.export import export_gguf

    export = export_gguf(
        base, out, adapters=adapters, precision=precision, imatrix=imatrix, converter=converter, progress=progress
    )
    return _verified(export, base, adapters, prompts, progress) if verify else export


def to_onnx(
    base: Path,
    out: Path,
    *,
    adapters: Adapters = (),
    precision: Precision = "int4",
    provider: Provider = "cpu",
    recipe: Mapping[str, str] | None = None,
    verify: bool = True,
    prompts: Path | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a folder for onnxruntime-genai and prove that it says what the model of `base` with `adapters` says.

    Args:
        base: A Hugging Face model folder: config.json, tokenizer and *.safetensors.
        out: The folder to make.
        adapters: PEFT folders, merged in float32 on the way, by path or as `AdapterSource` with a weight.
        precision: int4, int8, fp16 or fp32.
        provider: What will run it: cpu, cuda or dml.
        recipe: Options of onnxruntime-genai's model builder in the place of our own.
        verify: Compare the export with the original; False leaves it unproved.
        prompts: A file of your own prompts for the proof: one a line, or JSON lines.
        progress: Called as (stage, done, total).

    Returns:
        The export, with its proof as `parity`, which also stands beside it as NAME.parity.json.

    Raises:
        ParityError: The export says something else; it is NAME.failed now.
        ConversionError, AdapterError, StorageError, MissingExtra: As for `to_gguf`.

    Examples:
        >>> export = edge_converters.to_onnx(Path("phi-3-mini"), Path("phi3-onnx"), precision="int4")  # doctest: +SKIP
    """
    from edge_converters.onnx.export import export_onnx

    export = export_onnx(
        base, out, adapters=adapters, precision=precision, provider=provider, recipe=recipe, progress=progress
    )
    return _verified(export, base, adapters, prompts, progress) if verify else export


def to_adapter(
    adapter: Path,
    out: Path,
    *,
    base: Path,
    base_out: Path | None = None,
    precision: str | None = None,
    provider: str = "cpu",
    verify: bool = True,
    prompts: Path | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a LoRA that is swapped at run time and prove that it does to its base what PEFT does.

    Args:
        adapter: The LoRA as PEFT saves it.
        out: The file to write: NAME.gguf for llama.cpp, NAME.onnx_adapter for onnxruntime-genai.
        base: The Hugging Face folder of the model that it was trained on.
        base_out: With .onnx_adapter: also write the base with adapter slots as this folder, on which it is proved.
        precision: Of the tensors of a GGUF LoRA (f16), or of the base with slots (int4).
        provider: What will run the base with slots: cpu, cuda or dml.
        verify: Compare the export with the original; False leaves it unproved.
        prompts: A file of your own prompts for the proof: one a line, or JSON lines.
        progress: Called as (stage, done, total).

    Returns:
        The export, with its proof as `parity`, which also stands beside it as NAME.parity.json.

    Raises:
        ParityError: The export says something else; it is NAME.failed.gguf or NAME.failed.onnx_adapter now.
        ConversionError, StorageError, MissingExtra: As for `to_gguf`.
        AdapterError: The adapter does not fit `base`, or cannot be swapped at run time.

    Examples:
        >>> export = edge_converters.to_adapter(
        ...     Path("my-lora"), Path("lora.gguf"), base=Path("phi-3-mini"), verify=False
        ... )
        >>> Path(export.path).name
        'lora.gguf'
    """
    from edge_converters.adapter import export_adapter

    export = export_adapter(
        adapter, out, base=base, base_out=base_out, precision=precision, provider=provider, progress=progress
    )
    return _verified(export, base, adapter, prompts, progress, exported_base=base_out) if verify else export


def _verified(
    export: Export,
    base: Path,
    adapters: Adapters,
    prompts: Path | None,
    progress: Progress | None,
    exported_base: Path | None = None,
) -> Export:
    from edge_converters.verify import verify

    return verify(export, base=base, adapters=adapters, prompts=prompts, exported_base=exported_base, progress=progress)
