"""Small random models with the tokenizer, chat template and end tokens of published ones, in the form in which their
makers publish them, under any folder name.

Known: vocabularies and merges (or scores), from the ggml-vocab-*.gguf in llama.cpp's sources; chat templates, from its
models/templates where it has them. Rebuilt from the makers' public settings: which tokens were added, whether they are
special and swallow the white space behind them, normalizer, what stands in front of a text, generation_config.json.
Mistral's own vocabulary is not to be had, so that model has Llama 2's, which differs in the pieces and not in kind.
Gemma and SmolLM3 are of architectures that edge does not convert.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import standin
import vocabularies

_PHI3_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles!') }}{% endif %}"
    "{% endfor %}"
)
_QWEN_SPECIAL = {
    151643 + i: f"<|{name}|>"
    for i, name in enumerate(
        "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start quad_end vision_start "
        "vision_end vision_pad image_pad video_pad".split()
    )
}
_QWEN_WORDS = dict(
    enumerate(
        "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
        "<|file_sep|>".split(),
        151657,
    )
)
_QWEN3_WORDS = _QWEN_WORDS | dict(enumerate("<tool_response> </tool_response> <think> </think>".split(), 151665))
_LLAMA3_NAMED = {
    128000: "begin_of_text", 128001: "end_of_text", 128004: "finetune_right_pad_id", 128006: "start_header_id",
    128007: "end_header_id", 128008: "eom_id", 128009: "eot_id", 128010: "python_tag",
}  # fmt: skip


def _llama3_special() -> dict[int, str]:
    reserved = [token for token in range(128000, 128256) if token not in _LLAMA3_NAMED]
    return {
        **{token: f"<|{name}|>" for token, name in _LLAMA3_NAMED.items()},
        **{token: f"<|reserved_special_token_{i}|>" for i, token in enumerate(reserved)},
    }


@dataclass(frozen=True)
class Published:
    """`vocabulary`, `template`: what they are called in llama.cpp's sources, or the template itself. `special` tokens
    have no say where the vocabulary is a SentencePiece one; there, `stripping` swallow the white space behind them.
    """

    architecture: str
    vocabulary: str
    vocab_size: int
    template: str
    ends: tuple[int, ...]
    settings: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    byte_level: Mapping[str, Any] = field(default_factory=dict)
    stripping: tuple[int, ...] = ()


PUBLISHED = {
    "Phi-3-mini-4k-instruct": Published(
        "phi3", "phi-3", 32064, _PHI3_TEMPLATE, (32000, 32001, 32007), {"pad_token": "<|endoftext|>"},
        {"bos_token_id": 1, "pad_token_id": 32000}, stripping=(2, *range(32001, 32011)),
    ),
    "Qwen2.5-0.5B-Instruct": Published(
        "qwen2", "qwen2", 151936, "Qwen-Qwen2.5-7B-Instruct.jinja", (151645, 151643),
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_prefix_space": False},
        {"bos_token_id": 151643, "pad_token_id": 151643, "tie_word_embeddings": True},
        {"special": _QWEN_SPECIAL, "words": _QWEN_WORDS, "normalizer": "NFC"},
    ),
    "Qwen3-0.6B": Published(
        "qwen3", "qwen2", 151936, "Qwen-Qwen3-0.6B.jinja", (151645, 151643),
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_prefix_space": False},
        {"bos_token_id": 151643, "pad_token_id": 151643, "tie_word_embeddings": True, "head_dim": 16},
        {"special": _QWEN_SPECIAL, "words": _QWEN3_WORDS, "normalizer": "NFC"},
    ),
    "Llama-3.2-1B-Instruct": Published(
        "llama", "llama-bpe", 128256, "meta-llama-Llama-3.2-3B-Instruct.jinja", (128001, 128008, 128009),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        {"bos_token_id": 128000, "pad_token_id": 128004, "tie_word_embeddings": True},
        {"special": _llama3_special(), "begin": "<|begin_of_text|>"},
    ),
    "Mistral-7B-Instruct-v0.2": Published(
        "mistral", "llama-spm", 32000, _MISTRAL_TEMPLATE, (2,), {"eos_token": "</s>"},
        {"bos_token_id": 1, "pad_token_id": None, "sliding_window": None},
    ),
}  # fmt: skip


def make_published(name: str, sources: Path, out: Path) -> Path:
    """The model `name` of two layers in the folder `out`; `sources` are llama.cpp's."""
    known = PUBLISHED[name]
    ends: Any = known.ends[0] if known.architecture != "llama" else list(known.ends)
    standin.make_tiny(
        out, known.architecture, vocab_size=known.vocab_size, eos_token_id=ends, hidden_size=64, **known.config
    )
    vocabulary = sources / "models" / f"ggml-vocab-{known.vocabulary}.gguf"
    if known.byte_level:
        vocabularies.write_byte_level(vocabulary, out, **known.byte_level)
    else:
        vocabularies.write_sentencepiece(vocabulary, out, stripping=known.stripping)
        vocabularies.write_merges(out / "tokenizer.model", out)
    (out / "chat_template.jinja").unlink(missing_ok=True)
    template = known.template
    if template.endswith(".jinja"):
        template = (sources / "models" / "templates" / template).read_text(encoding="utf-8")
    _update(out / "tokenizer_config.json", {**known.settings, "chat_template": template})
    first = known.ends[0] if len(known.ends) == 1 else list(known.ends)
    _update(out / "generation_config.json", {"bos_token_id": known.config["bos_token_id"], "eos_token_id": first})
    return out


def _update(path: Path, values: Mapping[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**content, **values}, ensure_ascii=False), encoding="utf-8")
