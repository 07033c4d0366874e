"""What onnxruntime-genai and transformers make of the same tokens, for tests of ONNX exports."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import edge.system.offline


def load(folder: Path) -> Any:
    """An onnxruntime_genai.Model on the processor."""
    edge.system.offline.silence()
    import onnxruntime_genai

    config = onnxruntime_genai.Config(str(folder))
    config.clear_providers()
    return onnxruntime_genai.Model(config)


def adapters(model: Any, files: dict[str, Path]) -> Any:
    import onnxruntime_genai

    loaded = onnxruntime_genai.Adapters(model)
    for name, file in files.items():
        loaded.load(str(file), name)
    return loaded


def logits(model: Any, tokens: list[int], active: tuple[Any, str] | None = None) -> Any:
    """The logits [vocabulary] after the last token."""
    import numpy as np

    generator = _generator(model, tokens, 1, active)
    return np.array(generator.get_logits()).reshape(-1)


def greedy(model: Any, tokens: list[int], count: int, active: tuple[Any, str] | None = None) -> list[int]:
    """Up to `count` tokens, the end included."""
    generator = _generator(model, tokens, count, active)
    found: list[int] = []
    while not generator.is_done() and len(found) < count:
        generator.generate_next_token()
        found.append(int(generator.get_next_tokens()[0]))
    return found


def best_tokens(model: Any, tokens: list[int]) -> list[int]:
    """The most probable token after each of `tokens`, in one pass."""
    found: list[int] = _generator(model, tokens, 1, None).get_output("logits")[0].argmax(-1).tolist()
    return found


def _generator(model: Any, tokens: list[int], count: int, active: tuple[Any, str] | None) -> Any:
    import onnxruntime_genai

    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(tokens) + count, do_sample=False)
    generator = onnxruntime_genai.Generator(model, parameters)
    if active is not None:
        generator.set_active_adapter(*active)
    generator.append_tokens(tokens)
    return generator


def reference(base: Path, adapter: Path | None = None) -> Any:
    """transformers, and peft where there is an adapter, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter))
    return model.eval()


def reference_logits(model: Any, tokens: list[int]) -> Any:
    """The logits [vocabulary] after the last token."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0, -1].numpy()


def best_after(model: Any, tokens: list[int]) -> list[int]:
    """The token that transformers holds most probable after each of `tokens`."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].argmax(-1).tolist()  # type: ignore[no-any-return]


def is_greedy(model: Any, tokens: list[int], found: list[int]) -> bool:
    """Whether each token of `found` is the one that transformers holds most probable after those before it."""
    return best_after(model, tokens + found)[len(tokens) - 1 : -1] == found


def make_lora(base: Path, out: Path, **settings: Any) -> Path:
    """A random LoRA with a strong effect."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(init_lora_weights=False, **config))
    with warnings.catch_warnings():
        # peft takes a trained bias for a shard that was not gathered.
        warnings.simplefilter("ignore")
        model.save_pretrained(out, save_embedding_layers=False)
    return out
