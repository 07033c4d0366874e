"""A PEFT directory -> a LoRA in a GGUF file, which llama.cpp adds to a model while it runs.

The form is llama.cpp's own converter's: `NAME.lora_a` [rank, in] and `NAME.lora_b` [out, rank] for every weight, and
one alpha; llama.cpp computes alpha / rank * (b @ a), with the rank of each pair.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import AdapterError, MissingExtra, UsageError
from edge_converters.gguf.architectures import read_model
from edge_converters.gguf.export import DIRECT, add_metadata, interleaved
from edge_converters.gguf.file import Tensor, add_tensor_infos, encoded, kind_of, write_gguf
from edge_converters.gguf.model import Model, Target
from edge_converters.lora.merge import Merged
from edge_converters.lora.peft_adapter import Lora, LoraModule
from edge_converters.output import atomic_output, write_manifest
from edge_converters.types import AdapterSource, Export, Progress
from edge_converters.weights.checkpoint import Checkpoint
from edge_converters.weights.tensor_chunks import ChunkSource

if TYPE_CHECKING:
    import torch

# A model that was trained apart from its head has no `model.` in its names.
_PREFIXES = ("", "model.")


def lora_to_gguf(
    adapter: Path, out: Path, *, base: Path | Checkpoint, precision: str = "f16", progress: Progress | None = None
) -> Export:
    """Write the LoRA of the folder `adapter`, trained on the model `base` (a folder, or what knows its shapes), as a
    GGUF file at `out`.

    `precision` is "f32", "f16", "bf16" or "q8_0". Scales that differ from module to module (rslora, patterns) are
    multiplied into `lora_b`. Raises AdapterError for an adapter that does not fit `base` or that such a file cannot
    express, ConversionError, StorageError, UsageError, MissingExtra.
    """
    started = time.monotonic()
    if precision not in DIRECT:
        raise UsageError(f"{precision!r} is no precision of a GGUF LoRA; choose one of {', '.join(DIRECT)}")
    try:
        import gguf
    except ImportError as error:
        raise MissingExtra("gguf", "convert") from error
    out, source = Path(out), AdapterSource(Path(adapter))
    lora, checkpoint = Lora(source.path), base if isinstance(base, Checkpoint) else Checkpoint(Path(base))
    _check_expressible(lora)
    merged = Merged(checkpoint, [source])
    model = read_model(checkpoint.directory, checkpoint.config)
    alpha = float(lora.config.get("lora_alpha", 8)) or 1.0
    tensors = list(_tensors(lora, model, checkpoint, alpha, precision))
    writer = gguf.GGUFWriter(None, model.architecture.name)
    add_tensor_infos(writer, tensors)
    add_metadata(writer, lora.directory, gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    report = progress or (lambda stage, done, total: None)
    with atomic_output(out, needs=sum(tensor.nbytes for tensor in tensors) + (1 << 20)) as target:
        digest = write_gguf(target, writer, tensors, partial(report, "write"))
    return write_manifest(
        out,
        "adapter",
        base=checkpoint.directory,
        adapters=[source],
        options={"precision": precision, "format": "gguf"},
        applied=merged.applied,
        started=started,
        sha256=digest,
    )


def _check_expressible(lora: Lora) -> None:
    whole = [*lora.replaced, *lora.tokens]
    what = f"replaces {whole[0]} whole" if whole else ""
    for module in lora.modules.values():
        if module.magnitude is not None:
            what = what or f"is a DoRA (it scales {module.name})"
        if module.bias is not None:
            what = what or f"trains a bias of {module.name}"
    if what:
        raise _inexpressible(lora, what)


def _inexpressible(lora: Lora, what: str) -> AdapterError:
    return AdapterError(
        f"{lora.directory} {what}, which a LoRA in a GGUF file cannot express; merge it into the model instead: "
        f"edge convert gguf BASE --adapter {lora.directory}"
    )


def _tensors(lora: Lora, model: Model, base: Checkpoint, alpha: float, precision: str) -> Iterator[Tensor]:
    targets = model.targets()
    for module in lora.modules.values():
        name = next((p + module.name for p in _PREFIXES if f"{p}{module.name}.weight" in targets), module.name)
        weight = f"{name}.weight"
        if weight not in base.tensors:
            raise _inexpressible(lora, f"adapts {module.name}, which shares its weight with the input embedding")
        if module.embedding and "lm_head.weight" not in base.tensors:
            raise _inexpressible(lora, f"adapts {module.name}, which shares its weight with the output")
        target, layer = targets[weight]
        # llama.cpp looks up rows of A by token where it multiplies by A elsewhere.
        a, b = lora.shape(module.a), lora.shape(module.b)
        for part, shape in (("lora_a", a[::-1] if module.embedding else a), ("lora_b", b)):
            named = f"{layer}{target.name}.{part}"
            kind = kind_of(named, shape, precision)
            compute = partial(_encoded, lora, module, part, _factor(module, alpha), _head(target, model.lengths), kind)
            yield Tensor(named, shape, kind, partial(_single_chunk, compute))


def _factor(module: LoraModule, alpha: float) -> float:
    """What `lora_b` must be multiplied by for llama.cpp's alpha / rank to give this module's scale."""
    return module.scale / (alpha / module.rank)


def _head(target: Target, lengths: Mapping[str, int]) -> int:
    return lengths["head"] if target.interleaved else 0


def _single_chunk(compute: ChunkSource) -> list[ChunkSource]:
    return [compute]


def _encoded(lora: Lora, module: LoraModule, part: str, factor: float, head: int, kind: str) -> memoryview:
    if part == "lora_a":
        a: torch.Tensor = lora.read(module.a)
        return encoded(a.T if module.embedding else a, kind, module.a)
    b: Any = lora.read(module.b)
    if factor != 1:
        b = b.float() * factor
    return encoded(interleaved(b, head) if head else b, kind, module.b)
