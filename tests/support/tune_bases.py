"""Small bases and examples to tune with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import standin
import vocabularies

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
"""As Phi-3 has it: the end of a turn is not the end of the text, which follows the last turn."""


def make_base(out: Path, architecture: str = "phi3", *, template: str | None = TEMPLATE, **config: Any) -> Path:
    """A random model of two layers that reads bytes, with a chat template unless `template` is None."""
    settings = {"vocab_size": 320, "eos_token_id": 257, "pad_token_id": 257, "bos_token_id": 257, **config}
    vocabularies.write_bytes(standin.make_tiny(out, architecture, **settings))
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    if template is not None:
        words["chat_template"] = template
    (out / "tokenizer_config.json").write_text(json.dumps(words), encoding="utf-8")
    return out


def write_examples(file: Path, count: int = 16) -> Path:
    """Questions and answers of different lengths, as chat JSONL."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is lamp {number}{'?' * (number % 5 + 1)}"},
                {"role": "assistant", "content": f"Lamp {number} is {'very ' * (number % 3)}red."},
            ]
        }
        for number in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
