"""Short names of models that are known to work here, and where each of them lies on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A model: what it is for, the repository (and the files in it, where it holds several models), the licence."""

    name: str
    purpose: str
    repository: str
    licence: str
    files: str | None = None


_CPU_INT4 = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4/*"

CATALOGUE = (
    Known("phi3", "answers", "microsoft/Phi-3-mini-4k-instruct-gguf", "MIT"),
    Known("phi3:onnx", "answers", "microsoft/Phi-3-mini-4k-instruct-onnx", "MIT", _CPU_INT4),
    Known("phi3.5", "answers", "bartowski/Phi-3.5-mini-instruct-GGUF", "MIT"),
    Known("phi3.5:onnx", "answers", "microsoft/Phi-3.5-mini-instruct-onnx", "MIT", "cpu_and_mobile/*"),
    Known("phi4-mini", "answers", "unsloth/Phi-4-mini-instruct-GGUF", "MIT"),
    Known("phi4-mini:onnx", "answers", "microsoft/Phi-4-mini-instruct-onnx", "MIT", _CPU_INT4),
    Known("smollm2:135m", "answers", "bartowski/SmolLM2-135M-Instruct-GGUF", "Apache-2.0"),
    Known("smollm2:360m", "answers", "bartowski/SmolLM2-360M-Instruct-GGUF", "Apache-2.0"),
    Known("smollm2:1.7b", "answers", "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", "Apache-2.0"),
    Known("qwen2.5:0.5b", "answers", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "Apache-2.0"),
    Known("qwen2.5:1.5b", "answers", "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "Apache-2.0"),
    Known("qwen2.5:3b", "answers", "Qwen/Qwen2.5-3B-Instruct-GGUF", "Qwen Research (not for commercial use)"),
    Known("llama3.2:1b", "answers", "bartowski/Llama-3.2-1B-Instruct-GGUF", "Llama 3.2 Community"),
    Known("llama3.2:3b", "answers", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Llama 3.2 Community"),
    Known("minilm", "finds passages", "sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"),
    Known("bge-small", "finds passages", "BAAI/bge-small-en-v1.5", "MIT"),
    Known("multilingual-e5-small", "finds passages", "intfloat/multilingual-e5-small", "MIT"),
    Known("ms-marco-minilm", "reranks, to convert", "cross-encoder/ms-marco-MiniLM-L6-v2", "Apache-2.0"),
)

_DEFAULT_SIZE = {"smollm2": "smollm2:1.7b", "qwen2.5": "qwen2.5:1.5b", "llama3.2": "llama3.2:3b"}


def look_up(name: str) -> tuple[Known, str | None] | None:
    """The model of a short name, and the quantisation that stands behind it ("phi3:q8_0"); None when unknown."""
    short = name.lower()
    short = _DEFAULT_SIZE.get(short, short)
    for known in CATALOGUE:
        if short in (known.name, known.name.replace(":", "-")):
            return known, None
    before, colon, quantisation = name.rpartition(":")
    found = look_up(before) if colon else None
    return found and (found[0], quantisation)
