"""PEFT itself, as the oracle of merging: makes random adapters and merges them in float32."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_converters.lora.merge import Merged
from edge_converters.types import AdapterSource

Prepare = Callable[[Any], object]

FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
APART = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONV1D = ["c_attn", "c_proj", "c_fc"]


@dataclass(frozen=True)
class Adapter:
    """A saved adapter, and the logits of the model with it, not merged."""

    path: Path
    logits: Any
    modules: dict[str, tuple[int, float]]
    """The adapted modules: rank and scale."""


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(directory: Path, prepare: Prepare | None = None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    if prepare is not None:
        prepare(model)
    return model


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.arange(5, 40)[None]).logits


def make_adapter(
    base: Path,
    out: Path,
    *,
    seed: int = 1,
    prepare: Prepare | None = None,
    save: dict[str, Any] | None = None,
    dtype: str = "float32",
    name: str = "default",
    **config: Any,
) -> Adapter:
    """An adapter whose every trainable number is random, saved by PEFT; `prepare` changes the model before."""
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    with quiet():
        model = get_peft_model(load(base, prepare), LoraConfig(task_type="CAUSAL_LM", **config), adapter_name=name)
        torch.manual_seed(seed)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if parameter.requires_grad or ".lora_" in key:
                    parameter.add_(torch.randn_like(parameter) * 0.05)
                    parameter.copy_(parameter.to(getattr(torch, dtype)))
        model.eval()
        running = logits(model)
        if dtype != "float32":
            for key, parameter in model.named_parameters():
                if ".lora_" in key:
                    parameter.data = parameter.data.to(getattr(torch, dtype))
        model.save_pretrained(out, **(save or {}))
    modules = {
        key.removeprefix("base_model.model."): (module.r[name], module.scaling[name])
        for key, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    return Adapter(out, running, modules)


def merged_by_peft(
    base: Path,
    adapters: Sequence[Path],
    *,
    weights: Sequence[float] = (),
    prepare: Prepare | None = None,
    double: bool = False,
) -> Any:
    """The model in float32, or float64, after merge_and_unload of those adapters, one after another."""
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    names = [f"adapter{index}" for index in range(len(adapters))]
    with quiet():
        model = PeftModel.from_pretrained(load(base, prepare), adapters[0], adapter_name=names[0])
        for name, path in list(zip(names, adapters, strict=True))[1:]:
            model.load_adapter(path, adapter_name=name)
        for name, weight in zip(names, weights, strict=False):
            for module in model.modules():
                if isinstance(module, LoraLayer):
                    module.set_scale(name, weight)
        model.base_model.set_adapter(names)
        if double:
            model.double()
        return model.merge_and_unload(adapter_names=names)


def sources(*paths: Path, weights: tuple[float, ...] = ()) -> list[AdapterSource]:
    return [AdapterSource(path, weight) for path, weight in zip(paths, weights or (1.0,) * len(paths), strict=True)]


def assert_same(got: Merged, want: Any) -> None:
    """Every tensor of `got` has the bits that the model `want` has."""
    import torch

    expected = want.state_dict()
    for name in got.tensors:
        value = got.read(name).float()
        assert value.shape == expected[name].shape, name
        worst = (value - expected[name]).abs().max().item()
        assert torch.equal(value, expected[name]), f"{name} differs by {worst}"
    tied = got.config.get("tie_word_embeddings", True)
    assert set(expected) - set(got.tensors) <= ({"lm_head.weight"} if tied else set())


def grow(model: Any) -> None:
    """Four tokens more than the 256 of a tiny model."""
    import torch

    torch.manual_seed(3)
    model.resize_token_embeddings(260, mean_resizing=False)
