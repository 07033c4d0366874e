"""What the original says: transformers and PEFT in float32 on the untouched base and adapters.

A model whose float32 weights do not fit into memory is streamed: every module's weights are read from the
memory-mapped safetensors just before its forward pass and given back after it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edge.errors import AdapterError, ConversionError, MissingExtra
from edge_converters.lora.peft_adapter import Lora
from edge_converters.types import AdapterSource
from edge_converters.weights.checkpoint import Checkpoint, import_torch

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included: bounds the memory of activations."""

_HEAD_SETTINGS = ("logits_scaling", "logit_scale", "final_logit_softcapping")


class Reference:
    """`base` with `adapters` active, each times its weight.

    `streamed` None streams when the float32 weights take more than a third of the memory that is free.
    `window` False leaves the base's sliding attention window out, for engines that do not know it. `vocabulary` is
    that of an adapter that was trained with more tokens than the base has.
    Raises ConversionError, AdapterError or MissingExtra.
    """

    def __init__(
        self,
        base: Path,
        adapters: Sequence[AdapterSource] = (),
        *,
        streamed: bool | None = None,
        window: bool = True,
        vocabulary: int | None = None,
    ) -> None:
        self._torch = import_torch()
        self._checkpoint = Checkpoint(base)
        if streamed is None:
            streamed = _exceeds_memory(self._checkpoint)
        self.streamed = streamed
        config = _read_config(base)
        if not window:
            config.sliding_window = None
        self._config = config
        with _quiet():
            model = self._empty_model(config, vocabulary) if streamed else self._whole_model(base, config, vocabulary)
            self._model = self._with_adapters(model, adapters) if adapters else model
        self._model.eval()
        causal = self._model.get_base_model() if adapters else self._model
        self._decoder = causal.get_decoder()
        self._head = causal.get_output_embeddings()
        if streamed:
            self._stream()

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """The final hidden states of every sequence of tokens, float32 [tokens, width]: what `logits` takes.

        Short ones are padded on the right and pass together; one of another length class passes alone, for
        LongRoPE chooses its factors by the longest of a pass.
        """
        found: list[Any] = [None] * len(sequences)
        for group in self._batches(sequences):
            for index, states in zip(group, self._forward([sequences[i] for i in group]), strict=True):
                found[index] = states
        return found

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [positions, vocabulary] of hidden states [positions, width]."""
        with self._torch.inference_mode():
            logits: torch.Tensor = self._head(hidden)
        return logits

    def _batches(self, sequences: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        order = sorted(range(len(sequences)), key=lambda i: (len(sequences[i]), i))
        longrope_boundary = int(getattr(self._config, "original_max_position_embeddings", None) or 0)
        group: list[int] = []
        for i in order:
            length = len(sequences[i])
            crosses = bool(group) and len(sequences[group[0]]) <= longrope_boundary < length
            if group and (crosses or length * (len(group) + 1) > BATCH_TOKENS):
                yield group
                group = []
            group.append(i)
        if group:
            yield group

    def _forward(self, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        torch = self._torch
        longest = max(map(len, rows))
        tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            states = self._decoder(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        return [states[i, : len(row)].clone() for i, row in enumerate(rows)]

    def _whole_model(self, base: Path, config: Any, vocabulary: int | None) -> Any:
        from transformers import AutoModelForCausalLM

        model: Any = AutoModelForCausalLM.from_pretrained(
            base, config=config, dtype=self._torch.float32, attn_implementation="sdpa", local_files_only=True
        )
        if vocabulary is not None and vocabulary > config.vocab_size:
            model.resize_token_embeddings(vocabulary, mean_resizing=False)
        return model

    def _empty_model(self, config: Any, vocabulary: int | None) -> Any:
        """The architecture with its vectors in place and matrices that take no room: one zero, seen many times."""
        from accelerate import init_empty_weights
        from transformers import AutoModelForCausalLM

        torch, auto = self._torch, cast(Any, AutoModelForCausalLM)
        config.vocab_size = max(config.vocab_size, vocabulary or 0)
        with init_empty_weights(include_buffers=False):
            model = auto.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
        for name, parameter in list(model.named_parameters(remove_duplicate=False)):
            parent, _, leaf = name.rpartition(".")
            stored = self._stored_name(name)
            vector = parameter.dim() < 2
            weight = self._read(stored) if vector else torch.zeros(()).expand(*parameter.shape)
            filled = torch.nn.Parameter(weight, requires_grad=False)
            if not vector:
                filled.stored_as = stored
            model.get_submodule(parent)._parameters[leaf] = filled
        return model

    def _read(self, stored: str) -> torch.Tensor:
        return self._checkpoint.read(stored).to(self._torch.float32)

    def _with_adapters(self, model: Any, adapters: Sequence[AdapterSource]) -> Any:
        try:
            from peft import PeftModel
            from peft.tuners.lora import LoraLayer
        except ImportError as error:
            raise MissingExtra("peft", "convert") from error
        names = [f"adapter{i}" for i in range(len(adapters))]
        loras = [Lora(source.path) for source in adapters]
        if self.streamed:
            self._free_host_memory(model, {name for lora in loras for name in lora.replaced})
        wrapped: Any = model
        for name, lora in zip(names, loras, strict=True):
            try:
                if wrapped is model:
                    wrapped = PeftModel.from_pretrained(model, lora.directory, adapter_name=name)
                else:
                    wrapped.load_adapter(lora.directory, adapter_name=name)
            except (ValueError, RuntimeError, KeyError, OSError) as error:
                raise AdapterError(f"{lora.directory} does not fit {self._checkpoint.directory}: {error}") from error
        if len(names) > 1:
            wrapped.base_model.set_adapter(names)
        for module in wrapped.modules():
            if isinstance(module, LoraLayer):
                for name, source in zip(names, adapters, strict=True):
                    if name in module.scaling:
                        module.scaling[name] *= source.weight
        return wrapped.float()

    def _free_host_memory(self, model: Any, replaced: Collection[str]) -> None:
        """Real weights where PEFT will copy an adapter's own ones over the base's: embeddings that it saved.

        A tied head and its embedding stay one and the same.
        """
        empty = {
            name: parameter.stored_as
            for name, parameter in model.named_parameters(remove_duplicate=False)
            if hasattr(parameter, "stored_as")
        }
        real = {
            stored: self._torch.nn.Parameter(self._read(stored), requires_grad=False)
            for stored in {stored for name, stored in empty.items() if name in replaced}
        }
        for name, stored in empty.items():
            if stored in real:
                parent, _, leaf = name.rpartition(".")
                model.get_submodule(parent)._parameters[leaf] = real[stored]

    def _stream(self) -> None:
        """Hook every module that is called as a whole: a LoRA layer together with its base, whose weight DoRA
        reads itself, else the module that owns the weights.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        tuner: Any = BaseTunerLayer
        covered: set[int] = set()
        for module in self._model.modules():
            if id(module) in covered:
                continue
            parts: list[Any] = list(module.modules()) if isinstance(module, tuner) else [module]
            covered.update(map(id, parts))
            empty = [
                (owner, leaf, parameter)
                for owner in parts
                for leaf, parameter in owner._parameters.items()
                if hasattr(parameter, "stored_as")
            ]
            if empty:
                self._hook(module, empty)

    def _hook(self, module: Any, empty: Sequence[tuple[Any, str, Any]]) -> None:
        def load(_module: Any, _inputs: Any) -> None:
            for owner, leaf, parameter in empty:
                weight = self._read(parameter.stored_as)
                if len(weight) < len(parameter):  # a larger vocabulary: the adapter brings all of it
                    weight = self._torch.nn.functional.pad(weight, (0, 0, 0, len(parameter) - len(weight)))
                owner._parameters[leaf] = self._torch.nn.Parameter(weight, requires_grad=False)

        def unload(_module: Any, _inputs: Any, _output: Any) -> None:
            for owner, leaf, parameter in empty:
                owner._parameters[leaf] = parameter

        module.register_forward_pre_hook(load)
        module.register_forward_hook(unload, always_call=True)

    def _stored_name(self, name: str) -> str:
        """The checkpoint's name of a weight; a tied head has the embedding's. Raises ConversionError."""
        tied = "model.embed_tokens.weight"
        for candidate in (name, tied) if name == "lm_head.weight" else (name,):
            if candidate in self._checkpoint.tensors:
                return candidate
        raise ConversionError(f"{self._checkpoint.directory} lacks {name}; fetch the model again")


def _read_config(base: Path) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise ConversionError(f"transformers cannot read {base / 'config.json'}: {error}") from error
    scaled = [name for name in _HEAD_SETTINGS if getattr(config, name, None) not in (None, 1, 1.0)]
    if scaled:
        raise ConversionError(
            f"{base} scales its logits ({scaled[0]}), which parity cannot follow; convert with --no-verify"
        )
    return config


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and no warnings: PEFT and transformers warn those who train, and here nothing is trained."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _exceeds_memory(checkpoint: Checkpoint) -> bool:
    import psutil

    needed = 4 * sum(info.elements for info in checkpoint.tensors.values())
    return needed > psutil.virtual_memory().available / 3
