"""The preflight of a merge: which tensor of the base every tensor of every adapter changes, or why it does not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge.errors import AdapterError, ConversionError
from edge_converters.lora.merge_deltas import BiasShift, Change, LowRank, Read
from edge_converters.lora.merge_fit import INPUTS, OUTPUTS, Fit, leaf, module_of
from edge_converters.lora.peft_adapter import Lora, LoraModule
from edge_converters.weights.checkpoint import Checkpoint, TensorInfo

# Models whose linear layers are transformers' Conv1D, with the weight as [in, out].
_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")


@dataclass(frozen=True, slots=True)
class AppliedAdapter:
    """What one adapter did: `modules` of its `of` modules found their place, `ranks` and `scales` without repeats
    (the weight is in the scale), `replaced` tensors that it brings whole, `token_rows` of embeddings.
    `trained_on` is the base that its config names.
    """

    path: str
    weight: float
    modules: int
    of: int
    ranks: tuple[int, ...]
    scales: tuple[float, ...]
    dora: bool
    replaced: tuple[str, ...]
    token_rows: int
    trained_on: str | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What all adapters did. `untied`: the output head became a tensor of its own, because only one of it and the
    input embedding changed; `vocabulary` is the new number of tokens where an adapter brings another one.
    """

    adapters: tuple[AppliedAdapter, ...]
    untied: bool = False
    vocabulary: int | None = None


class Plan:
    """`changes` by tensor name, the `tensors` and the `config` of the merged model, and the record `applied`.

    Raises AdapterError for an adapter that does not fit the base and ConversionError for a base that cannot be
    merged into. Of the base's weights only those are read that an adapter brings whole, to see whether they differ.
    """

    def __init__(self, base: Checkpoint, loras: list[tuple[Lora, float]]) -> None:
        self.base = base
        self.tensors = dict(base.tensors)
        self.config: dict[str, Any] = dict(base.config)
        self.changes: dict[str, Change] = {}
        self.input = next((name for name in base.tensors if leaf(name) in INPUTS), None)
        self.output = next((f"{name}.weight" for name in OUTPUTS if f"{name}.weight" in base.tensors), None)
        self.tied = self.input is not None and self.output is None and _has_head(self.config)
        if self.tied:
            self.output = f"{OUTPUTS[0]}.weight"
        self._replacing: dict[str, Lora] = {}
        self._untied = False
        adapters = tuple(self._add(lora, weight) for lora, weight in loras)
        self._settle_tie()
        self._settle_vocabulary()
        self.applied = Applied(adapters, self._untied, self._new_vocabulary())

    def _add(self, lora: Lora, weight: float) -> AppliedAdapter:
        fit = Fit(lora, self.base, self.output if self.tied else None)
        fit.check()
        replaced = [name for name, key in lora.replaced.items() if self._replace(fit.base_name(name), lora, key)]
        if replaced and weight != 1:
            raise AdapterError(
                f"{lora.directory} brings {replaced[0]} whole, which cannot be weighted by {weight:g}; "
                "give it the weight 1"
            )
        for module in lora.modules.values():
            self._adapt(fit.base_name(module.name), lora, module, lora.scale(module, weight))
        for name, tokens in lora.tokens.items():
            self._retrain_tokens(fit.base_name(name), lora, tokens.key)
        return AppliedAdapter(
            path=str(lora.directory),
            weight=weight,
            modules=len(lora.modules),
            of=len(lora.modules),
            ranks=tuple(sorted({module.rank for module in lora.modules.values()})),
            scales=tuple(sorted({lora.scale(module, weight) for module in lora.modules.values()})),
            dora=bool(lora.config.get("use_dora")),
            replaced=tuple(replaced),
            token_rows=sum(len(tokens.rows) for tokens in lora.tokens.values()),
            trained_on=lora.config.get("base_model_name_or_path"),
        )

    def _change(self, name: str, lora: Lora) -> Change:
        change = self.changes.get(name)
        if change is None:
            stored = self.stored_as(name)
            if stored.dtype not in ("F64", "F32", "F16", "BF16"):
                raise ConversionError(
                    f"{stored.name} in {stored.file} is quantised ({stored.dtype}), so that nothing can be merged into "
                    "it; take the original base in float16, bfloat16 or float32"
                )
            change = self.changes[name] = Change(stored.shape, partial(self.base.read, stored.name))
        elif self._replacing.get(name, lora) is not lora:
            raise AdapterError(
                f"{lora.directory} adapts {name}, which {self._replacing[name].directory} replaces whole; "
                "merge only one of the two"
            )
        return change

    def _replace(self, name: str, lora: Lora, key: str) -> bool:
        """Whether the adapter's tensor is another than the base's; peft saves embeddings beside a LoRA on them too."""
        stored = self.stored_as(name)
        if lora.shape(key) == stored.shape and _equal(
            partial(self.base.read, stored.name), partial(lora.read, key), stored.shape
        ):
            return False
        if name in self.changes:
            raise AdapterError(
                f"{lora.directory} replaces {name} whole, which another adapter changes too; merge only one of the two"
            )
        change = self._change(name, lora)
        shape = lora.shape(key)
        grows = name in (self.input, self.output) and len(shape) == 2 and shape[1:] == change.shape[1:]
        if shape != change.shape and not grows:
            raise AdapterError(_misfit(lora, name, shape, change.shape))
        change.shape, change.read = shape, partial(lora.read, key)
        self._replacing[name] = lora
        return True

    def _adapt(self, name: str, lora: Lora, module: LoraModule, scale: float) -> None:
        weight = f"{name}.weight"
        change = self._change(weight, lora)
        transposed = module.embedding or self._is_conv1d(name, lora, module, change.shape)
        low_rank = LowRank(lora, module, scale, transposed)
        if low_rank.shape != change.shape:
            raise AdapterError(_misfit(lora, weight, low_rank.shape, change.shape))
        if module.magnitude is not None:
            wanted = (lora.shape(module.b)[0],)
            if lora.shape(module.magnitude) not in (wanted, (1, *wanted), (*wanted, 1)):
                raise AdapterError(_misfit(lora, module.magnitude, lora.shape(module.magnitude), wanted))
        change.low_rank.append(low_rank)
        if module.bias is not None:
            if f"{name}.bias" not in self.base.tensors:
                raise AdapterError(
                    f"{lora.directory} trained a bias of {name} (lora_bias), which has none in {self.base.directory}; "
                    "such an adapter cannot be merged: use it with peft"
                )
            self._change(f"{name}.bias", lora).shifts.append(BiasShift(lora, module.bias, scale))

    def _is_conv1d(self, name: str, lora: Lora, module: LoraModule, shape: tuple[int, ...]) -> bool:
        ins, outs = lora.shape(module.a)[1], lora.shape(module.b)[0]
        if ins != outs:
            return shape == (ins, outs)
        # A square weight does not show it. fan_in_fan_out does not either: peft sets it to what the last module was.
        return self.config.get("model_type") in _CONV1D_MODELS and f"{name}.weight" != self.output

    def _retrain_tokens(self, name: str, lora: Lora, key: str) -> None:
        change = self._change(name, lora)
        if change.low_rank or change.tokens:
            raise AdapterError(
                f"{lora.directory} trained single token rows of {name}, which is changed otherwise too; "
                "merge only one of the two"
            )
        tokens = next(tokens for tokens in lora.tokens.values() if tokens.key == key)
        width = lora.shape(key)[1:]
        if width != change.shape[1:] or max(tokens.rows, default=0) >= change.shape[0]:
            wanted = (max(tokens.rows, default=0) + 1, *width)
            raise AdapterError(_misfit(lora, name, wanted, change.shape))
        change.tokens.append((lora, tokens))

    def stored_as(self, name: str) -> TensorInfo:
        """Where the base keeps `name`; a tied output head is the input embedding."""
        if name == self.output and self.tied:
            assert self.input is not None
            return self.base.tensors[self.input]
        return self.base.tensors[name]

    def _settle_tie(self) -> None:
        """Where input and output share one tensor: keep them so when both change alike, else part them.

        An adapter in use changes only the one that it adapts. peft's merge_and_unload changes the shared tensor,
        and so both; that would be another model than the one that was trained.
        """
        if self.output in self.base.tensors and self.changes.keys() & {self.input, self.output}:
            # Some bases hold the shared tensor twice.
            self.config["tie_word_embeddings"] = False
        if not self.tied or self.input is None or self.output is None:
            return
        inner, outer = self.changes.get(self.input), self.changes.get(self.output)
        if inner is not None and outer is not None and _alike(inner, outer):
            del self.changes[self.output]
            return
        if inner is None and outer is not None:
            inner = self._partner(self.output, outer)
        elif outer is None and inner is not None:
            outer = self._partner(self.input, inner)
        if inner is None or outer is None:
            return
        self.changes[self.input], self.changes[self.output] = inner, outer
        self._untied = True
        self.config["tie_word_embeddings"] = False
        self.tensors[self.output] = replace(self.stored_as(self.output), name=self.output)

    def _partner(self, name: str, change: Change) -> Change | None:
        """What becomes of the other of two tied tensors when `change` came to `name` alone; None: the same."""
        lora = self._replacing.get(name)
        own_copy = lora is not None and lora.saves(module_of(name)) and not lora.config.get("ensure_weight_tying")
        if not (own_copy or change.low_rank or (change.tokens and name == self.output)):
            return None
        if own_copy or lora is None:
            stored = self.stored_as(name)
            return Change(stored.shape, partial(self.base.read, stored.name))
        # An embedding that was saved beside a LoRA took the place of the shared tensor before the LoRA came.
        return Change(change.shape, change.read)

    def _settle_vocabulary(self) -> None:
        for name, change in self.changes.items():
            info = self.tensors[name]
            if info.shape != change.shape:
                width = info.nbytes // info.elements
                end = info.start + width * change.shape[0] * change.shape[1]
                self.tensors[name] = replace(info, shape=change.shape, end=end)
        if self.input is None or self.output not in self.tensors:
            return
        sizes = self.tensors[self.input].shape[0], self.tensors[self.output].shape[0]
        if sizes[0] != sizes[1]:
            brought, kept = (self.input, self.output) if self.input in self._replacing else (self.output, self.input)
            raise AdapterError(
                f"{self._replacing[brought].directory} brings {brought} for {self.tensors[brought].shape[0]} tokens, "
                f"but {kept} of {self.base.directory} stays at {self.tensors[kept].shape[0]}; save the adapter with "
                "both (save_embedding_layers=True)"
            )

    def _new_vocabulary(self) -> int | None:
        if self.input is None or self.tensors[self.input].shape == self.base.tensors[self.input].shape:
            return None
        size = self.tensors[self.input].shape[0]
        self.config["vocab_size"] = size
        return size


def _alike(inner: Change, outer: Change) -> bool:
    """Whether both are one replacement, or the same token rows, with nothing else."""
    if inner.low_rank or outer.low_rank or inner.shape != outer.shape:
        return False
    if inner.tokens or outer.tokens:
        rows = [[(tokens.rows, lora.read(tokens.key)) for lora, tokens in change.tokens] for change in (inner, outer)]
        return len(rows[0]) == len(rows[1]) and all(
            a[0] == b[0] and bool(a[1].equal(b[1])) for a, b in zip(*rows, strict=True)
        )
    return _equal(inner.read, outer.read, inner.shape)


def _equal(one: Read, other: Read, shape: tuple[int, ...]) -> bool:
    """Whether two tensors of that shape hold the same numbers, whatever their types."""
    step = 1024
    chunks = (slice(start, start + step) for start in range(0, shape[0], step))
    return all(bool(one(chunk).float().equal(other(chunk).float())) for chunk in chunks)


def _misfit(lora: Lora, name: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> str:
    trained_on = lora.config.get("base_model_name_or_path")
    return (
        f"{lora.file} was trained for {name} of {list(theirs)}, which is {list(ours)} in the base; "
        "take the base that it was trained on" + (f", {trained_on}" if trained_on else "")
    )


def _has_head(config: dict[str, Any]) -> bool:
    names = config.get("architectures") or ["ForCausalLM"]
    return bool(config.get("tie_word_embeddings", True)) and any("LM" in str(name) for name in names)
