"""GGUF files against llama.cpp's own converter: names, types, shapes and bytes of all tensors, and all metadata."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import standin
import upstream
import vocabularies
from edge_converters.gguf.export import export_gguf

LONG = [1.0 + i / 3 for i in range(6)]
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "long_factor": LONG,
    "short_factor": [1.0 + i / 10 for i in range(6)],
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
SIZES = {"phi-3": 32064, "llama-spm": 32064, "llama-bpe": 128256, "qwen2": 151936, "smollm": 49152}


@dataclass(frozen=True)
class Case:
    """A random model: `vocabulary` names a tokeniser of SIZES, `files` are written into its folder."""

    name: str
    architecture: str
    vocabulary: str
    precision: str
    dtype: str = "float32"
    config: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


CARD = "---\nlicense: mit\nlanguage:\n- en\ntags:\n- station\n---\n# A model\n"
SAMPLING = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}
TEMPLATES = {"chat_template.jinja": "plain", "additional_chat_templates/tool_use.jinja": "with tools"}

CASES = [
    Case("phi3", "phi3", "phi-3", "f16", config={"original_max_position_embeddings": 512, "sliding_window": 100}),
    Case(
        "phi3-longrope",
        "phi3",
        "smollm",
        "bf16",
        "bfloat16",
        {
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 128,
            "tie_word_embeddings": True,
            "num_key_value_heads": 4,
        },
    ),
    Case("llama2", "llama", "llama-spm", "q8_0", config={"attention_bias": True, "mlp_bias": True}),
    Case(
        "llama3",
        "llama",
        "llama-bpe",
        "f32",
        "bfloat16",
        {"rope_parameters": LLAMA3, "tie_word_embeddings": True, "bos_token_id": 128000, "eos_token_id": [128001, 9]},
        {"README.md": CARD, "generation_config.json": json.dumps(SAMPLING), **TEMPLATES},
    ),
    Case("llama-odd-rows", "llama", "smollm", "q8_0", config={"intermediate_size": 144}),
    Case(
        "mistral",
        "mistral",
        "smollm",
        "f16",
        "bfloat16",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e6, "factor": 2.0}, "head_dim": 32},
    ),
    Case("qwen2", "qwen2", "qwen2", "q8_0", "float16", {"rope_parameters": YARN, "eos_token_id": 151643}),
    Case("qwen3", "qwen3", "smollm", "bf16", "float32", {"head_dim": 32, "tie_word_embeddings": True}),
]


@pytest.fixture(scope="module")
def sources(starter_home: Path) -> Path:
    return upstream.sources(starter_home)


@pytest.fixture(scope="module")
def tokenizers(sources: Path, stand_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tokeniser, by its name in SIZES."""
    made = tmp_path_factory.mktemp("tokenizers")

    def folder(name: str) -> Path:
        if name == "smollm":
            return stand_in
        out = made / name
        if not out.is_dir():
            out.mkdir()
            vocabulary = sources / "models" / f"ggml-vocab-{name}.gguf"
            if name in ("phi-3", "llama-spm"):
                vocabularies.write_sentencepiece(vocabulary, out)
            else:
                begin = "<|begin_of_text|>" if name == "llama-bpe" else None
                vocabularies.write_byte_level(vocabulary, out, begin=begin)
        return out

    return folder


@pytest.fixture(scope="module")
def converted(
    sources: Path, tokenizers: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """Our file and upstream's, by the name of the case."""
    root = tmp_path_factory.mktemp("converted")
    jobs = {case.name: _job(case, root, tokenizers) for case in CASES}
    upstream.convert(sources, list(jobs.values()))
    ours = {case.name: root / f"{case.name}-ours.gguf" for case in CASES}
    for name, job in jobs.items():
        export_gguf(job.model, ours[name], precision=job.precision)
    return {name: (ours[name], job.out) for name, job in jobs.items()}


def _job(case: Case, root: Path, tokenizers: Callable[[str], Path]) -> upstream.Job:
    model = root / case.name
    tokenizer = tokenizers(case.vocabulary)
    config = {"vocab_size": SIZES[case.vocabulary], **case.config}
    standin.make_tiny(model, case.architecture, dtype=case.dtype, tokenizer=tokenizer, **config)
    if (tokenizer / "added_tokens.json").is_file():
        shutil.copy(tokenizer / "added_tokens.json", model)
    for name, text in case.files.items():
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text(text, encoding="utf-8")
    return upstream.Job(model, root / f"{case.name}.gguf", case.precision)


# Upstream names one end token, and has llama.cpp take Qwen's ordinary </s> for another.
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_file_is_what_upstream_makes(converted: dict[str, tuple[Path, Path]], name: str) -> None:
    more = {"tokenizer.ggml.eom_token_id": 9} if name == "llama3" else {}
    upstream.assert_same(*converted[name], more=more, hidden=[128247] if name == "qwen2" else [])
