"""One model in memory, several LoRAs: who answers is chosen for every question, and nothing is loaded again.

    python examples/adapter_swap.py MODEL LORA…

A LoRA is a PEFT folder, a GGUF LoRA or, for a model of onnxruntime-genai, an .onnx_adapter.
"""

from __future__ import annotations

import sys

import edge
import edge_converters  # noqa: F401 - converts what PEFT saved

QUESTION = [{"role": "user", "content": "What does the red lamp mean?"}]


def answers(model: edge.Model, loras: list[str]) -> dict[str, str]:
    """What the plain base says, each LoRA, each at half its strength, and the base again."""
    sampling = edge.Sampling(max_tokens=40)
    said = {"the base": model.generate(QUESTION, sampling=sampling).text}
    for path in loras:
        adapter = model.add_adapter(path)
        said[adapter.name] = model.generate(QUESTION, adapter=adapter.name, sampling=sampling).text
        half = model.generate(QUESTION, adapter=adapter.name, scale=0.5, sampling=sampling)
        said[f"{adapter.name}, half"] = half.text
    said["the base again"] = model.generate(QUESTION, sampling=sampling).text
    return said


if __name__ == "__main__":
    with edge.load(sys.argv[1]) as model:
        for name, text in answers(model, sys.argv[2:]).items():
            print(f"{name}: {text}")
