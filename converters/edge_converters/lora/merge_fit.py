"""Whether an adapter belongs to a base: every tensor finds its module, every targeted module has its tensors."""

from __future__ import annotations

from collections.abc import Iterable

from edge.errors import AdapterError
from edge_converters.lora.patterns import PatternError
from edge_converters.lora.peft_adapter import CONFIG, Lora
from edge_converters.lora.targets import targeted
from edge_converters.weights.checkpoint import Checkpoint

INPUTS = ("embed_tokens", "wte", "word_embeddings", "embed_in")
OUTPUTS = ("lm_head", "embed_out")
# A model with a head was trained and the base was saved without it, or the other way round: (drop, add) in front.
_PREFIXES = (("", ""), ("model.", ""), ("transformer.", ""), ("", "model."), ("", "transformer."))


class Fit:
    """Whether the modules of one adapter are in the base, and under which names."""

    def __init__(self, lora: Lora, base: Checkpoint, tied_head: str | None) -> None:
        self.lora, self.base, self.tied_head = lora, base, tied_head
        self.wanted = [f"{name}.weight" for name in lora.modules] + [*lora.replaced, *lora.tokens]
        self.drop, self.add = max(_PREFIXES, key=lambda pair: self._found(*pair))

    def base_name(self, name: str) -> str:
        """The base's name of a module or tensor of the adapter."""
        return name if module_of(name) in OUTPUTS else self.add + name.removeprefix(self.drop)

    def _found(self, drop: str, add: str) -> int:
        return sum(self._exists(add + name.removeprefix(drop)) for name in self.wanted)

    def _exists(self, name: str) -> bool:
        return name in self.base.tensors or name == self.tied_head

    def check(self) -> None:
        """Raise AdapterError unless every tensor finds its module and every targeted module has its tensors."""
        absent = [name for name in self.wanted if not self._exists(self.base_name(name))]
        if absent:
            raise AdapterError(self._absent(absent))
        self._check_complete()

    def _absent(self, absent: list[str]) -> str:
        lora, base = self.lora, self.base
        theirs = _kinds(absent)
        ours = _kinds(name for name, info in base.tensors.items() if len(info.shape) == 2)
        missing = [kind for kind in theirs if kind not in ours]
        if missing:
            what = (
                f"it adapts {', '.join(missing)}, which {base.directory} does not have; its modules are "
                + ", ".join(ours)
            )
            if "qkv_proj" in ours and "q_proj" in missing:
                what += " (q, k and v are fused in qkv_proj there, gate and up in gate_up_proj)"
            elif "qkv_proj" in missing and "q_proj" in ours:
                what += " (q_proj, k_proj and v_proj apart there, which are fused in qkv_proj in the adapter)"
        else:
            what = f"{absent[0].removesuffix('.weight')} is not in {base.directory}"
        trained_on = lora.config.get("base_model_name_or_path")
        return (
            f"{lora.file} does not fit the base, {len(absent)} of {len(self.wanted)} tensors that it changes are not "
            f"there: {what}; take the base that it was trained on" + (f", {trained_on}" if trained_on else "")
        )

    def _check_complete(self) -> None:
        lora = self.lora
        names = [
            module_of(name) for name, info in self.base.tensors.items() if len(info.shape) == 2 and _is_weight(name)
        ]
        if self.tied_head and not lora.config.get("ensure_weight_tying"):
            names += [module_of(self.tied_head)]
        names = [self.drop + name.removeprefix(self.add) for name in names]
        linear = [name for name in names if leaf(name) not in (*INPUTS, *OUTPUTS, "wpe")]
        try:
            expected = targeted(lora.config, names, linear=linear)
        except PatternError as error:
            raise AdapterError(
                f"{lora.directory / CONFIG} names modules by what is no usable regular expression ({error})"
            ) from error
        lacking = sorted(expected - lora.modules.keys())
        if lacking:
            raise AdapterError(
                f"{lora.file} lacks the tensors of {lacking[0]} and of {len(lacking) - 1} other modules that {CONFIG} "
                f"targets ({len(expected) - len(lacking)} of {len(expected)} are there); save or fetch it again"
            )


def _kinds(names: Iterable[str]) -> list[str]:
    """The last parts of module names, each once, in order."""
    return list(dict.fromkeys(leaf(name) for name in names))


def leaf(name: str) -> str:
    return module_of(name).rpartition(".")[2]


def module_of(tensor: str) -> str:
    return tensor.removesuffix(".weight").removesuffix(".bias")


def _is_weight(name: str) -> bool:
    return name.endswith(".weight")
