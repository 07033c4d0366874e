"""One model's place in the table of architectures: what becomes of its tensors, or why it cannot be converted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError, MissingExtra
from edge_converters.checkpoint import TensorInfo, import_torch
from edge_converters.gguf_architectures import ARCHITECTURES, SUPPORTED, Architecture, Target

if TYPE_CHECKING:
    import torch

# What every kind of rope scaling needs beside the base frequency.
_SCALINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "dynamic": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
}
_PHI3_SCALINGS: dict[str, tuple[str, ...]] = {
    "default": ("original_max_position_embeddings",),
    "longrope": ("original_max_position_embeddings",),
}
# Buffers that old checkpoints carry and every loader computes anew.
_NOT_WEIGHTS = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of one tensor of the checkpoint. `head`: so many rows are interleaved, 0 where none are."""

    source: str
    name: str
    shape: tuple[int, ...]
    head: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """An architecture with one model's config, as transformers completes it, in one form for all its spellings."""

    architecture: Architecture
    directory: Path
    config: Mapping[str, Any]
    rope: Mapping[str, Any]
    lengths: Mapping[str, int]

    def plan(self, tensors: Mapping[str, TensorInfo]) -> list[Planned]:
        """What becomes of every tensor. ConversionError for one that is missing, unknown or of another shape."""
        expected = self.targets()
        planned = []
        for name, info in tensors.items():
            if name.endswith(_NOT_WEIGHTS):
                continue
            if name not in expected:
                raise ConversionError(
                    f"{info.file} holds {name}, which a {self.kind} model does not have: it would be lost; "
                    "convert with llama.cpp's own converter (--converter PATH), which may know it"
                )
            target, layer = expected[name]
            shape = tuple(self.lengths[length] for length in target.shape)
            if info.shape != shape:
                raise ConversionError(
                    f"{name} in {info.file} is {list(info.shape)} where config.json of {self.directory} asks for "
                    f"{list(shape)}; the two are of different models: fetch them again"
                )
            head = self.lengths["head"] if target.interleaved else 0
            planned.append(Planned(name, layer + target.name, shape, head))
        present = {tensor.source for tensor in planned}
        missing = [name for name, (target, _) in expected.items() if not target.optional and name not in present]
        if missing:
            raise ConversionError(
                f"{self.directory} lacks {missing[0]}{f' and {len(missing) - 1} more tensors' if missing[1:] else ''}, "
                f"which a {self.kind} model needs; fetch the model again"
            )
        return planned

    def targets(self) -> dict[str, tuple[Target, str]]:
        """Every tensor that the model may have: its target and what stands before the target's name."""
        tied = bool(self.config.get("tie_word_embeddings"))
        named = {
            "model.embed_tokens.weight": Target("token_embd.weight", ("vocab", "hidden")),
            "model.norm.weight": Target("output_norm.weight", ("hidden",)),
            "lm_head.weight": Target("output.weight", ("vocab", "hidden"), optional=tied),
        }
        expected = {name: (target, "") for name, target in named.items()}
        for layer in range(self.layers):
            for name, target in self.architecture.block.items():
                expected[f"model.layers.{layer}.{name}"] = (target, f"blk.{layer}.")
        return expected

    def generated(self) -> dict[str, torch.Tensor]:
        """Tensors that config.json holds and llama.cpp wants as tensors: float32, [rotary dimensions / 2]."""
        lib = import_torch()
        kind = self.rope_type
        if kind == "longrope":
            return {
                f"rope_factors_{length}.weight": lib.tensor(self.rope[f"{length}_factor"], dtype=lib.float32)
                for length in ("long", "short")
            }
        return {"rope_freqs.weight": self._llama3_factors()} if kind == "llama3" else {}

    def _llama3_factors(self) -> torch.Tensor:
        """By how much Llama 3.1 slows every frequency: short waves keep theirs, long ones lose `factor`."""
        lib, rope, dim = import_torch(), self.rope, self.lengths["head"]
        frequencies = 1.0 / (rope["rope_theta"] ** (lib.arange(0, dim, 2, dtype=lib.float32) / dim))
        waves = 2 * math.pi / frequencies
        old, factor = rope["original_max_position_embeddings"], float(rope["factor"])
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = (old / waves - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        factors: torch.Tensor = lib.where(waves > old / low, lib.tensor(factor), between)
        return lib.where(waves < old / high, lib.tensor(1.0), factors)  # type: ignore[no-any-return]  # lib is Any

    @property
    def kind(self) -> str:
        return self.architecture.classes[0].removesuffix("ForCausalLM")

    @property
    def layers(self) -> int:
        return int(self.config["num_hidden_layers"])

    @property
    def rotary(self) -> int:
        """How many elements of a head are rotated (Phi-3 counts from the hidden size)."""
        share = self.rope.get("partial_rotary_factor", 1.0)
        return int(share * self.lengths["hidden"]) // int(self.config["num_attention_heads"])

    @property
    def rope_type(self) -> str:
        kind = str(self.rope.get("rope_type", "default")).lower()
        return "longrope" if kind in ("su", "longrope") else kind


def read_model(directory: Path, config: Mapping[str, Any]) -> Model:
    """The model of a directory whose config.json is `config`.

    Raises ConversionError, with what is supported, for another architecture, experts or quantised weights.
    """
    architecture = _architecture(directory, config)
    if config.get("quantization_config"):
        raise ConversionError(
            f"{directory} is quantised already ({config['quantization_config'].get('quant_method', 'unknown')}); "
            "convert the original model, whose weights are float16, bfloat16 or float32"
        )
    complete = _complete(directory, {"model_type": architecture.classes[1], **config})
    rope = _rope(complete)
    heads = int(complete["num_attention_heads"])
    head = int(complete.get("head_dim") or complete["hidden_size"] // heads)
    kv_heads = int(complete.get("num_key_value_heads") or heads)
    lengths = {
        "vocab": int(complete["vocab_size"]),
        "hidden": int(complete["hidden_size"]),
        "ffn": int(complete["intermediate_size"]),
        "gate_up": 2 * int(complete["intermediate_size"]),
        "head": head,
        "heads": heads,
        "kv_heads": kv_heads,
        "q": heads * head,
        "kv": kv_heads * head,
        "qkv": (heads + 2 * kv_heads) * head,
    }
    model = Model(architecture, directory, complete, rope, lengths)
    _check_rope(model)
    return model


def _check_rope(model: Model) -> None:
    known = _PHI3_SCALINGS if model.architecture.name == "phi3" else _SCALINGS
    if model.rope_type not in known:
        raise ConversionError(
            f"config.json of {model.directory} scales its rope by {model.rope_type!r}; a {model.kind} model can be "
            f"converted with {', '.join(known)}"
        )
    absent = [key for key in ("rope_theta", *known[model.rope_type]) if model.rope.get(key) is None]
    if absent:
        raise ConversionError(f"config.json of {model.directory} has no {absent[0]} for its rope; fetch it again")


def _architecture(directory: Path, config: Mapping[str, Any]) -> Architecture:
    names = config.get("architectures") or [config.get("model_type")]
    found = next((known for known in ARCHITECTURES if names[0] in known.classes), None)
    if found is not None and not config.get("num_local_experts") and not config.get("num_experts"):
        return found
    raise ConversionError(
        f"{directory} is a {names[0]}, which edge cannot convert to GGUF itself; it can convert {SUPPORTED}. For "
        "others fetch llama.cpp's sources and name their folder with --converter PATH"
    )


def _complete(directory: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the defaults of its kind and the newest spelling of every key."""
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingExtra("transformers", "convert") from error
    try:
        complete: dict[str, Any] = AutoConfig.for_model(**config).to_dict()
    except Exception as error:  # transformers and its libraries have errors of their own for contradictions
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ConversionError(
            f"config.json of {directory} cannot be used: {reason[0].strip()}; fetch it again"
        ) from error
    return complete


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    for key in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):
        if key not in rope and config.get(key) is not None:
            rope[key] = config[key]
    rope.setdefault("rope_type", rope.get("type", "default"))
    return rope
