"""A PEFT LoRA directory: which modules it adapts, with which rank and scale, and which tensors it replaces whole.

The format is what peft's `save_pretrained` writes: adapter_config.json and adapter_model.safetensors, whose keys are
`base_model.model.` + module + part (https://huggingface.co/docs/peft/developer_guides/checkpoint).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import AdapterError
from edge_converters.lora.patterns import ForeignPattern, PatternError
from edge_converters.weights.checkpoint import TensorFiles, TensorInfo, read_header, read_json
from edge_converters.weights.tensor_chunks import is_finite

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"

_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector|lora_magnitude_vector\.weight|token_adapter\.trainable_tokens_delta)"
)

# Settings of peft whose effect is no low-rank addition to a weight of the base.
_NOT_MERGEABLE = {
    "alora_invocation_tokens": "is an activated LoRA, which acts only after its invocation tokens",
    "arrow_config": "routes between several LoRAs at run time",
    "kasa_config": "changed the base's weights (KaSA)",
    "layer_replication": "replicates layers of the base",
    "megatron_config": "was made for Megatron's parallel layers",
    "monteclora_config": "samples its weights (MonteCLoRA)",
    "target_parameters": "adapts single parameters such as the experts of a mixture",
    "use_bdlora": "is block-diagonal (BD-LoRA)",
    "use_qalora": "pools its input (QA-LoRA)",
}
_INITS_THAT_CHANGE_THE_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")


@dataclass(frozen=True, slots=True)
class LoraModule:
    """One adapted module. `name` is the module in the model that was trained ("model.layers.0.mlp.down_proj");
    the others are keys of the adapter file: `a` [rank, in], `b` [out, rank], for an embedding `a` [rank,
    vocabulary] and `b` [width, rank]; `magnitude` [out] (DoRA) and `bias` [out] where there are such.

    The weight changes by `scale` * b @ a, in the float32 order of peft: multiply, scale, add.
    """

    name: str
    a: str
    b: str
    rank: int
    scale: float
    magnitude: str | None = None
    embedding: bool = False
    bias: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows of an embedding that were trained apart: `rows[i]` of the tensor becomes row i of `key`."""

    key: str
    rows: tuple[int, ...]


class Lora:
    """A PEFT directory, or the parent of the only one (peft saves adapters that are not named default so).

    `modules` by module name; `replaced`: base tensor name -> key of the tensor that takes its place (modules to
    save, trained biases, saved embeddings); `tokens`: base tensor name -> rows. Raises AdapterError for what is no
    LoRA, cannot be merged truthfully, is incomplete or contradicts itself.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = _find(Path(directory))
        self.config: dict[str, Any] = read_json(self.directory / CONFIG)
        self.file = self.directory / WEIGHTS
        self._check_kind()
        self._rank_patterns = self._compiled("rank_pattern")
        self._alpha_patterns = self._compiled("alpha_pattern")
        self._saved = self._compiled("modules_to_save", prefix=r"(^|.*\.)", suffix=r"($|\..*)")
        self.tensors: dict[str, TensorInfo] = self._header()
        self._data = TensorFiles()
        self.modules: dict[str, LoraModule] = {}
        self.replaced: dict[str, str] = {}
        self.tokens: dict[str, TokenRows] = {}
        for name, parts in self._parts().items():
            self._add_module(name, parts)
        self._check_finite()

    def read(self, key: str, rows: slice = slice(None)) -> torch.Tensor:
        """A tensor of the adapter file, or rows of it: in the stored dtype, memory-mapped."""
        return self._data.read(self.tensors[key], rows)

    def shape(self, key: str) -> tuple[int, ...]:
        return self.tensors[key].shape

    def saves(self, module: str) -> bool:
        """Whether `module` is one of the modules_to_save: a copy of its own, where saved embeddings are shared."""
        return self._first_match("modules_to_save", self._saved, module) is not None

    def _compiled(self, setting: str, prefix: str = r"(.*\.)?(", suffix: str = ")$") -> dict[str, ForeignPattern]:
        """The expressions of a setting, by what stands there."""
        try:
            return {
                text: ForeignPattern(str(text), prefix=prefix, suffix=suffix) for text in self.config.get(setting) or []
            }
        except PatternError as error:
            raise self._unusable(setting, error) from error

    def _first_match(self, setting: str, patterns: Mapping[str, ForeignPattern], module: str) -> str | None:
        try:
            return next((text for text, pattern in patterns.items() if pattern.match(module)), None)
        except PatternError as error:
            raise self._unusable(setting, error) from error

    def _unusable(self, setting: str, error: PatternError) -> AdapterError:
        return AdapterError(f"{self.directory / CONFIG} has a {setting} that is no usable regular expression ({error})")

    def _check_kind(self) -> None:
        where, config = self.directory, self.config
        kind = str(config.get("peft_type", "")).upper()
        if kind != "LORA":
            raise AdapterError(
                f"{where / CONFIG} is of the PEFT type {kind or 'unknown'}, which cannot be merged; give a LoRA"
            )
        for setting, what in _NOT_MERGEABLE.items():
            if config.get(setting):
                raise AdapterError(
                    f"{where} {what} ({setting}), which no merged weight can say; use it with peft, or train a "
                    "plain LoRA"
                )
        init = str(config.get("init_lora_weights", True)).lower()
        if init.startswith(_INITS_THAT_CHANGE_THE_BASE):
            raise AdapterError(
                f"{where} was initialised with {init}, which changed the base's weights, so that it does not fit the "
                "original base; save it again with save_pretrained(…, path_initial_model_for_weight_conversion=…)"
            )

    def _header(self) -> dict[str, TensorInfo]:
        if self.file.is_file():
            tensors = read_header(self.file)
            if not tensors:
                raise AdapterError(f"{self.file} holds no tensors; save the adapter again")
            return tensors
        pickle = self.directory / PICKLE
        if pickle.is_file():
            raise AdapterError(
                f"{pickle} is a pickle, which can run code when it is read, so it is not read; convert it where you "
                'trust it: python -c "import torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v '
                f"in torch.load('{pickle}', weights_only=True).items()}}, '{self.file}')\""
            )
        raise AdapterError(f"{self.file} is missing; save the adapter again with peft's save_pretrained")

    def _parts(self) -> dict[str, dict[str, str]]:
        """Module -> part -> key. What is no part of a LoRA replaces a tensor of the base."""
        modules: dict[str, dict[str, str]] = defaultdict(dict)
        for key in self.tensors:
            name = key.removeprefix("base_model.model.")
            if match := _PART.fullmatch(name):
                part = match["part"].removeprefix("token_adapter.").removesuffix(".weight")
                modules[match["module"]][part] = key
            elif name.endswith(".lora_velora_embed") or ".original_module." in name:
                continue  # VeLoRA's projection, which only training uses; what an embedding was before its training
            elif ".modules_to_save." in name:
                # A resized embedding is saved a second time under its place inside the trained model.
                self.replaced.setdefault(name.replace(".modules_to_save.", "."), key)
            elif re.search(r"\.lora_|\.token_adapter\.", name):
                raise AdapterError(
                    f"{self.file} holds {key}, which is not known here; save it with a plain LoRA's parts"
                )
            else:
                self.replaced[name.replace(".base_layer.", ".")] = key
        return modules

    def _add_module(self, name: str, parts: dict[str, str]) -> None:
        if tokens := parts.pop("trainable_tokens_delta", None):
            self.tokens[f"{name}.weight"] = TokenRows(tokens, self._token_rows(name, tokens))
            if not parts:
                return
        embedding = "lora_embedding_A" in parts or "lora_embedding_B" in parts
        names = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
        absent = [part for part in names if part not in parts]
        if self.config.get("use_dora") and "lora_magnitude_vector" not in parts:
            absent.append("lora_magnitude_vector")
        if absent:
            raise AdapterError(
                f"{self.file} has {', '.join(sorted(parts))} of {name} but not its {absent[0]}; "
                "the file is incomplete: save or fetch the adapter again"
            )
        if "lora_magnitude_vector" in parts and not self.config.get("use_dora"):
            raise AdapterError(
                f"{self.file} has a DoRA magnitude of {name} but {CONFIG} says use_dora: false; "
                "they are of two adapters: save or fetch the adapter again"
            )
        a, b = parts[names[0]], parts[names[1]]
        rank, alpha = self._rank_and_alpha(name)
        self._check_rank(name, a, b, rank)
        root = sqrt(rank) if self.config.get("use_rslora") else rank
        magnitude, bias = parts.get("lora_magnitude_vector"), parts.get("lora_B.bias")
        self.modules[name] = LoraModule(name, a, b, rank, alpha / root, magnitude, embedding, bias)

    def scale(self, module: LoraModule, weight: float) -> float:
        """The scale of `module` in an adapter of that weight, in the order in which peft's set_scale multiplies."""
        if weight == 1:
            return module.scale
        rank, alpha = self._rank_and_alpha(module.name)
        return weight * alpha / (sqrt(rank) if self.config.get("use_rslora") else rank)

    def _rank_and_alpha(self, name: str) -> tuple[int, float]:
        found: list[float] = []
        for setting, patterns, default in (
            ("rank_pattern", self._rank_patterns, "r"),
            ("alpha_pattern", self._alpha_patterns, "lora_alpha"),
        ):
            key = self._first_match(setting, patterns, name) or name
            value = (self.config.get(setting) or {}).get(key, self.config.get(default, 8))
            if not isinstance(value, int | float) or value != value or (default == "r" and value < 1):
                raise AdapterError(f"{self.directory / CONFIG} says {default} = {value!r}; save the adapter again")
            found.append(value)
        return int(found[0]), found[1]

    def _check_rank(self, name: str, a: str, b: str, rank: int) -> None:
        shapes = self.shape(a), self.shape(b)
        if len(shapes[0]) != 2 or len(shapes[1]) != 2:
            raise AdapterError(
                f"{self.file} adapts {name} with tensors of {list(shapes[0])} and {list(shapes[1])}; only linear and "
                "embedding modules can be merged"
            )
        if (shapes[0][0], shapes[1][1]) != (rank, rank):
            raise AdapterError(
                f"{self.file} has rank {shapes[0][0]} (A) and {shapes[1][1]} (B) for {name}, where {CONFIG} says "
                f"{rank}; the two files are of different adapters"
            )

    def _token_rows(self, name: str, key: str) -> tuple[int, ...]:
        wanted = self.config.get("trainable_token_indices")
        if isinstance(wanted, dict):
            wanted = next((rows for part, rows in wanted.items() if name == part or name.endswith(f".{part}")), None)
        if not isinstance(wanted, list) or len(wanted) != self.shape(key)[0]:
            raise AdapterError(
                f"{self.file} has {self.shape(key)[0]} trained token rows of {name}, where {CONFIG} names "
                f"{len(wanted) if isinstance(wanted, list) else 'none'}; the two files are of different adapters"
            )
        return tuple(int(row) for row in wanted)

    def _check_finite(self) -> None:
        for key, info in self.tensors.items():
            if info.dtype not in ("F64", "F32", "F16", "BF16"):
                raise AdapterError(f"{self.file} holds {key} as {info.dtype}; save the adapter in a floating type")
            # In pieces: a saved embedding can be larger than all the rest.
            step = max(1, (1 << 20) // max(1, info.elements // max(1, info.shape[0] if info.shape else 1)))
            for start in range(0, info.shape[0] if info.shape else 1, step):
                piece = self.read(key, slice(start, start + step)) if info.shape else self.read(key)
                if not is_finite(piece):
                    raise AdapterError(f"{self.file} has infinite or undefined numbers in {key}; its training failed")


def _find(directory: Path) -> Path:
    if (directory / CONFIG).is_file():
        return directory
    if not directory.is_dir():
        raise AdapterError(f"{directory} is no folder; give the folder that peft's save_pretrained wrote")
    inside = sorted(path.parent for path in directory.glob(f"*/{CONFIG}"))
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise AdapterError(f"{directory} holds {len(inside)} adapters ({', '.join(p.name for p in inside)}); name one")
    raise AdapterError(f"{directory} has no {CONFIG}; give the folder that peft's save_pretrained wrote")
