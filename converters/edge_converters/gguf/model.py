"""A model that is converted to GGUF: what becomes of each of its tensors, or why it cannot be converted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError
from edge_converters.weights.checkpoint import TensorInfo, import_torch

if TYPE_CHECKING:
    import gguf
    import torch

# Buffers that old checkpoints carry and every loader computes anew.
_NOT_WEIGHTS = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor of a GGUF file: its name without `blk.N.`, its shape by the names of `Model.lengths`.

    `interleaved`: Hugging Face's Llama rotates the two halves of a head against each other and llama.cpp's
    neighbouring elements, so the rows of every head change places.
    """

    name: str
    shape: tuple[str, ...]
    interleaved: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """`name` is llama.cpp's; `classes` are Hugging Face's. `block` holds the tensors of a layer by their name there."""

    name: str
    classes: tuple[str, ...]
    block: Mapping[str, Target]
    parameters: Callable[[Model, gguf.GGUFWriter], None]


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
