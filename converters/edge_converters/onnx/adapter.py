"""A PEFT directory -> an `.onnx_adapter` file, which onnxruntime-genai swaps in and out of a base that has slots."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edge.system.offline
from edge.errors import AdapterError, MissingExtra
from edge_converters.lora.merge import Merged
from edge_converters.lora.peft_adapter import Lora, LoraModule
from edge_converters.onnx.export import build, check_base, check_options, recipe_of
from edge_converters.output import atomic_output, size_of, write_manifest
from edge_converters.types import AdapterSource, Export, Progress
from edge_converters.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

_MODULE = re.compile(r"(?:.*\.)?layers\.(\d+)\.(self_attn|mlp)\.(\w+)|(?:.*\.)?(lm_head)")
# Phi-1 and 2 call the output projection of the attention so; the builder calls it as everyone else does.
_BUILDERS_NAME = {"dense": "o_proj"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A pair of inputs of a base with slots: `name`.lora_A.MatMul.weight [in, rank] and `name`.lora_B… [rank, out].

    `start:stop` are the rows of the module's B that go there: q, k and v, and gate and up, have slots of their own
    where a module fuses them.
    """

    name: str
    start: int
    stop: int

    def inputs(self) -> tuple[str, str]:
        return f"{self.name}.lora_A.MatMul.weight", f"{self.name}.lora_B.MatMul.weight"


def to_onnx_adapter(
    adapter: Path,
    out: Path,
    *,
    base: Path,
    base_out: Path | None = None,
    precision: str = "int4",
    provider: str = "cpu",
    progress: Progress | None = None,
) -> Export:
    """Write the PEFT directory `adapter` as the file `out`, and the model of `base` with adapter slots as the
    folder `base_out` where that is given.

    Every base with slots takes the adapters of its model, whatever its precision; only the type of the slots goes
    by it: float32 for cpu and for fp32, else float16. The LoRA's scale is in its B. Raises AdapterError for
    an adapter that does not fit `base` or changes more than linear layers; else as `export_onnx`.
    """
    check_options(precision, provider)
    checkpoint = Checkpoint(Path(base))
    check_base(checkpoint)
    half = provider != "cpu" and precision != "fp32"

    def write_base() -> None:
        if base_out is not None:
            options = {"precision": precision, "provider": provider, "recipe": recipe_of(precision)}
            build(Path(base), base_out, adapters=(), options=options, slots=True, progress=progress)

    return write_adapter(adapter, out, checkpoint, half=half, options={"base_out": base_out}, meanwhile=write_base)


def write_adapter(
    adapter: Path,
    out: Path,
    base: Checkpoint,
    *,
    half: bool,
    options: Mapping[str, Any] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Export:
    """Write the PEFT directory `adapter` as the file `out`, in float16 if `half`, for the slots of a model with the
    shapes of `base`. `out` is there only if `meanwhile` went well too. Raises as `to_onnx_adapter`.
    """
    started = time.monotonic()
    source = AdapterSource(Path(adapter))
    lora = Lora(source.path)
    slots = {name: slots_of(base.config, name, rows_of(lora, module)) for name, module in lora.modules.items()}
    _check_plain(lora, slots)
    applied = Merged(base, [source]).applied
    with atomic_output(out, needs=size_of(lora.file) * 2) as partial:
        _write(partial, lora, slots, half=half)
        meanwhile()
    return write_manifest(
        Path(out),
        "onnx_adapter",
        base=base.directory,
        adapters=[source],
        options={"dtype": "float16" if half else "float32", **(options or {})},
        applied=applied,
        started=started,
    )


def slots_of(config: dict[str, Any], module: str, rows: int) -> list[Slot]:
    """The slots of a linear module with `rows` outputs, none where the builder draws none."""
    found = _MODULE.fullmatch(module)
    if found is None:
        return []
    layer, block, leaf, head = found.groups()
    if head:
        return [Slot(head, 0, rows)]
    prefix = f"model.layers.{layer}.{'attn' if block == 'self_attn' else 'mlp'}"
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    keys = (config.get("num_key_value_heads") or heads) * size
    parts = {
        "qkv_proj": {"q_proj": heads * size, "k_proj": keys, "v_proj": keys},
        "gate_up_proj": {"gate_proj": rows // 2, "up_proj": rows // 2},
    }.get(leaf, {_BUILDERS_NAME.get(leaf, leaf): rows})
    slots, start = [], 0
    for name, length in parts.items():
        slots.append(Slot(f"{prefix}.{name}", start, start + length))
        start += length
    return slots


def rows_of(lora: Lora, module: LoraModule) -> int:
    return lora.shape(module.b)[0]


def _check_plain(lora: Lora, slots: dict[str, list[Slot]]) -> None:
    """Raise AdapterError unless the adapter is nothing but A and B of modules that have slots."""
    reasons = {
        "is a DoRA": [name for name, module in lora.modules.items() if module.magnitude],
        "has biases": [name for name, module in lora.modules.items() if module.bias],
        "adapts embeddings": [name for name, module in lora.modules.items() if module.embedding] + [*lora.tokens],
        "replaces whole tensors": [*lora.replaced],
        "adapts modules without a slot": [name for name, found in slots.items() if not found],
    }
    for reason, names in reasons.items():
        if names:
            raise AdapterError(
                f"{lora.directory} {reason} ({names[0]}), which cannot be swapped at run time; "
                f"merge it instead: edge convert onnx BASE --adapter {lora.directory}"
            )


def _write(out: Path, lora: Lora, slots: dict[str, list[Slot]], *, half: bool) -> None:
    edge.system.offline.silence_native()
    try:
        from onnxruntime import AdapterFormat, OrtValue
    except ImportError as error:
        raise MissingExtra("onnxruntime", "convert") from error
    parameters = {
        name: OrtValue.ortvalue_from_numpy(_numpy(tensor, half=half))
        for module, found in slots.items()
        for name, tensor in _parameters(lora, lora.modules[module], found)
    }
    file = AdapterFormat()
    file.set_adapter_version(1)
    file.set_model_version(1)
    file.set_parameters(parameters)
    file.export_adapter(str(out))


def _parameters(lora: Lora, module: LoraModule, slots: list[Slot]) -> Iterator[tuple[str, torch.Tensor]]:
    a, b = lora.read(module.a).float(), lora.read(module.b).float() * module.scale
    for slot in slots:
        name_a, name_b = slot.inputs()
        yield name_a, a.T
        yield name_b, b[slot.start : slot.stop].T


def _numpy(tensor: torch.Tensor, *, half: bool) -> Any:
    return (tensor.half() if half else tensor).contiguous().numpy()
