"""What conversion promises, on a model that speaks English and a LoRA that was trained on it: base + adapter in
transformers, the GGUF file and the ONNX folder say the same, token by token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import standin
from edge_converters import AdapterSource
from edge_converters.gguf.export import export_gguf
from edge_converters.onnx.export import export_onnx
from edge_converters.parity.candidate import Candidate
from edge_converters.parity.candidate_gguf import GgufCandidate
from edge_converters.parity.candidate_onnx import OnnxCandidate

TOKENS = 32
QUESTIONS = [
    *(question for question, _ in standin.LESSONS),
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Name three colours.",
    "How do I boil an egg?",
    "Why is the sky blue?",
    "Tell me a story about a dog.",
    "What is 12 plus 30?",
    "Explain what a gearbox does.",
    "Who wrote Hamlet?",
    "Give me advice for a job interview.",
    "What is the largest ocean?",
    "Describe a winter morning.",
]


@pytest.fixture(scope="module")
def spoken(stand_in: Path, trained_lora: Path) -> list[tuple[list[int], list[int]]]:
    """Prompts and their `TOKENS` greedy tokens by transformers and peft in float32, past the end of a reply too."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(stand_in)
    model: Any = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(stand_in, dtype=torch.float32), trained_lora
    )
    model.generation_config.eos_token_id = None
    replies = []
    for question in QUESTIONS:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        prompt = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        whole = model.generate(**prompt, max_new_tokens=TOKENS, do_sample=False)[0].tolist()
        length = prompt["input_ids"].shape[1]
        replies.append((whole[:length], whole[length:]))
    return replies


@pytest.fixture(scope="module", params=["gguf f16", "onnx fp32"])
def exported(
    request: pytest.FixtureRequest, stand_in: Path, trained_lora: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Candidate]:
    folder, adapters = tmp_path_factory.mktemp("agreement"), [AdapterSource(trained_lora)]
    candidate: Candidate
    if request.param == "gguf f16":
        candidate = GgufCandidate(Path(export_gguf(stand_in, folder / "a.gguf", adapters=adapters).path))
    else:
        candidate = OnnxCandidate(Path(export_onnx(stand_in, folder / "a", adapters=adapters, precision="fp32").path))
    yield candidate
    candidate.close()


def test_the_greedy_text_is_the_same(exported: Candidate, spoken: list[tuple[list[int], list[int]]]) -> None:
    """Every token that transformers chose is the engine's best one after the same tokens: by induction the texts
    are equal.
    """
    assert len(spoken) == 20
    for prompt, reply in spoken:
        assert len(reply) == TOKENS
        tokens = prompt + reply
        found = exported.logits(tokens[:-1], range(len(prompt) - 1, len(tokens) - 1))
        assert np.argmax(found, axis=1).tolist() == reply
