"""Whether a model fits into the memory that is free, before a byte of it is loaded, and what of it would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edge.engines.llamacpp.gguf_check import check_gguf, parts_of
from edge.engines.llamacpp.gguf_header import GgufHeader, read_gguf_header
from edge.engines.onnx.genai_config import load_genai_config
from edge.errors import ModelError, ModelTooLarge
from edge.system.machine import available_memory

DEFAULT_CONTEXT = 4096
"""Tokens. The KV cache is allocated whole, and LongRoPE models change their factors beyond."""


KV_TYPES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes a number."""

_QUANTISED = {"q8_0": 8.5, "q6_k": 6.6, "q5_k_m": 5.7, "q4_k_m": 4.9, "q3_k_m": 3.9, "q2_k": 3.2}
"""Bits a weight of whole models, embeddings included."""

_BATCH = 512
_VOCABULARY = 400
"""Bytes that an engine keeps of a token, its text in several tables; measured."""
_OVERHEAD = 10_000_000
_STEP = 256
"""Tokens: llama.cpp allocates contexts in multiples of it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model takes and what there is, in bytes.

    `weights` are memory-mapped on llama.cpp: they count in full all the same, for every token reads all of them and a
    machine that cannot keep them reads them from the disk each time. `kv` is the cache of the whole context, which is
    allocated at once; `scratch` everything else: activations of one batch of 512 tokens, the vocabulary, tables.
    `needed` is their sum.
    """

    weights: int
    kv: int
    scratch: int
    needed: int
    available: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model takes. `kv_numbers` are cached a token; `fixed` and `per_token` (of the context) are scratch, bytes.

    `trained` is the longest context. `heads` is the length of a head, `parameters` their number where quantisation
    could still shrink them, else 0.
    """

    weights: int
    kv_numbers: int
    fixed: int
    per_token: int
    trained: int
    heads: int = 0
    parameters: int = 0
    kv_bytes: float | None = None

    def kv(self, context: int, kv_type: str) -> int:
        return int(self.kv_per_token(kv_type) * -(-context // _STEP) * _STEP)

    def kv_per_token(self, kv_type: str = "f16") -> float:
        return self.kv_numbers * (KV_TYPES[kv_type] if self.kv_bytes is None else self.kv_bytes)

    def total(self, context: int, kv_type: str) -> int:
        return self.weights + self.kv(context, kv_type) + self.fixed + self.per_token * context


def choose_context(wanted: int | None, trained: int, name: str) -> int:
    """Tokens of the context for the model `name`: `wanted`, or as many as suit it. `trained`, for how many it was
    trained, is 0 where that is not known. Raises ModelError for more than that."""
    if wanted is None:
        return min(DEFAULT_CONTEXT, trained) if trained > 0 else DEFAULT_CONTEXT
    if wanted < 1 or 0 < trained < wanted:
        raise ModelError(
            f"a context of {wanted:,} tokens was asked for and {name} was trained for {trained:,}; "
            f"choose 1 to {trained:,}"
        )
    return wanted


def check_fit(
    path: Path,
    *,
    context: int,
    kv_type: str = "f16",
    gpu_layers: int | str | None = None,
    available: int | None = None,
) -> None:
    """Raise ModelTooLarge when a GGUF file or ONNX folder does not fit at `context` tokens, with the numbers and what
    would fit. `gpu_layers` are computed on a GPU and take no memory here: a number or "all"; None and "auto" say that
    nobody knows yet and count as none. `available` are bytes (None asks the machine).

    Also raises ModelNotFound, or ModelError for a damaged file.
    """
    available = available_memory() if available is None else available
    needs = _on_cpu(needs_of(path), path, gpu_layers)
    fit = _fit(needs, context, kv_type, available)
    if not fit.fits:
        raise ModelTooLarge(_refusal(path, needs, fit, context, kv_type))


def fit_of(
    path: Path,
    *,
    context: int | None = None,
    kv_type: str = "f16",
    gpu_layers: int | str | None = None,
    available: int | None = None,
) -> Fit:
    """The numbers behind `check_fit`; `context` None is the one that is taken unasked."""
    available = available_memory() if available is None else available
    needs = needs_of(path)
    return _fit(_on_cpu(needs, path, gpu_layers), context or default_context(needs), kv_type, available)


def default_context(needs: Needs) -> int:
    return min(DEFAULT_CONTEXT, needs.trained or DEFAULT_CONTEXT)


def needs_of(path: Path) -> Needs:
    """Raises ModelNotFound, or ModelError for a damaged file."""
    return _onnx_needs(path) if path.is_dir() else _gguf_needs(path)


def _fit(needs: Needs, context: int, kv_type: str, available: int) -> Fit:
    kv, needed = needs.kv(context, kv_type), needs.total(context, kv_type)
    return Fit(needs.weights, kv, needed - kv - needs.weights, needed, available, needed <= available)


def _on_cpu(needs: Needs, path: Path, gpu_layers: int | str | None) -> Needs:
    """What is left for main memory when so many layers (the output counts as one) lie on a GPU."""
    if path.is_dir() or gpu_layers in (None, "auto", 0):
        return needs
    layers = _layers(read_gguf_header(path)) + 1
    left = 0.0 if gpu_layers == "all" else max(0.0, 1 - int(gpu_layers or 0) / layers)
    return Needs(
        int(needs.weights * left),
        int(needs.kv_numbers * left),
        needs.fixed,
        needs.per_token,
        needs.trained,
        needs.heads,
        needs.parameters,
    )


def _layers(header: GgufHeader) -> int:
    return int(header.settings.get(f"{header.settings['general.architecture']}.block_count", 0))


def _gguf_needs(path: Path) -> Needs:
    header = check_gguf(path)
    rest = [read_gguf_header(part) for part in parts_of(path)[1:]] if header.settings.get("split.count", 0) > 1 else []
    tensors = [tensor for part in (header, *rest) for tensor in part.tensors.values()]
    prefix = f"{header.settings['general.architecture']}."
    width = _most(header, f"{prefix}embedding_length")
    forward = _most(header, f"{prefix}feed_forward_length")
    experts = _most(header, f"{prefix}expert_used_count")
    forward = max(forward, experts * _most(header, f"{prefix}expert_feed_forward_length"))
    heads = max(_most(header, f"{prefix}attention.head_count"), 1)
    usual = width // heads
    key = int(header.settings.get(f"{prefix}attention.key_length", usual))
    value = int(header.settings.get(f"{prefix}attention.value_length", usual))
    layers = _layers(header)
    name = f"{prefix}attention.head_count_kv"
    cached = sum(header.numbers(name)[:layers]) or layers * int(header.settings.get(name, heads))
    tokens = header.arrays["tokenizer.ggml.tokens"].count if "tokenizer.ggml.tokens" in header.arrays else 0
    parameters = sum(prod(tensor.shape) for tensor in tensors)
    return Needs(
        weights=sum(tensor.end - tensor.start for tensor in tensors),
        kv_numbers=cached * (key + value),
        fixed=_OVERHEAD + _VOCABULARY * tokens + _BATCH * 4 * (2 * forward + 6 * width),
        per_token=_BATCH * 2,
        trained=int(header.settings.get(f"{prefix}context_length", 0)),
        heads=key,
        parameters=parameters,
    )


def _most(header: GgufHeader, key: str) -> int:
    """A number, or the largest of those that are given layer by layer."""
    return int(max(header.numbers(key), default=0) or header.settings.get(key, 0))


def _onnx_needs(folder: Path) -> Needs:
    model = read_genai_config(folder)
    try:
        decoder = model["decoder"]
        layers = int(decoder["num_hidden_layers"])
        cached, size = int(decoder["num_key_value_heads"]), int(decoder["head_size"])
        width, tokens = int(decoder["hidden_size"]), int(model["vocab_size"])
        graph, trained = folder / str(decoder["filename"]), int(model.get("context_length", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / 'genai_config.json'} is damaged ({error!r}); convert the model again") from error
    seen = _look_into(graph)
    weights = sum(file.stat().st_size for file in folder.glob("*.onnx*") if file.is_file())
    number = 2 if seen.halves else 4
    if seen.quantised:  # they are packed anew for the processor, and what is shared is kept twice
        weights = weights * 3 // 2
    elif seen.turned:
        weights += tokens * width * number
    return Needs(
        weights=weights,
        kv_numbers=2 * layers * cached * size,
        # The logits of a whole batch, three times where the output has adapter slots, and its activations.
        fixed=3 * _OVERHEAD + _VOCABULARY * tokens + _BATCH * 4 * ((3 if seen.slots else 1) * tokens + 12 * width),
        per_token=_BATCH * 2,
        trained=trained,
        heads=size,
        kv_bytes=number,
    )


def read_genai_config(folder: Path) -> dict[str, Any]:
    """The `model` of a folder's genai_config.json. Raises ModelError."""
    config = folder / "genai_config.json"
    try:
        model = load_genai_config(config)["model"]
    except FileNotFoundError:
        raise ModelError(
            f"{folder} is no ONNX model folder (it has no genai_config.json); give one, or a GGUF file"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{config} is damaged ({error!r}); convert the model again") from error
    if not isinstance(model, dict):
        raise ModelError(f"{config} is damaged (its model is no object); convert the model again")
    return model


@dataclass(frozen=True, slots=True)
class _Graph:
    """`halves`: the KV cache is kept in 16 bits; `turned`: the embedding once more for the output."""

    halves: bool
    quantised: bool
    turned: bool
    slots: bool


def _look_into(graph: Path) -> _Graph:
    """The graph is a protobuf whose weights lie in a file beside it; a cached tensor's type follows its name."""
    try:
        data = graph.read_bytes() if graph.stat().st_size < 1 << 26 else b""
    except OSError as error:
        raise ModelError(f"{graph} cannot be read ({error.strerror}); convert the model again") from error
    found = re.search(rb"past_key_values\.0\.key\x12.{1,2}\x0a.{1,2}\x08(.)", data, re.DOTALL)
    return _Graph(
        halves=found is not None and found[1] in (b"\x0a", b"\x10"),  # float16, bfloat16
        quantised=b"MatMulNBits" in data,
        turned=b"embed_tokens/Transpose" in data,
        slots=b"/lm_head/lora" in data,
    )


def _refusal(path: Path, needs: Needs, fit: Fit, context: int, kv_type: str) -> str:
    ways = list(_what_fits(needs, fit.available, context, kv_type))
    advice = f"it would fit {' or '.join(ways)}" if ways else "nothing of it would fit: take a smaller model"
    return (
        f"{path.name} needs {_size(fit.needed)} (weights {_size(fit.weights)}, KV cache of {context:,} tokens "
        f"{_size(fit.kv)}, working memory {_size(fit.scratch)}) and {_size(fit.available)} of memory are free; "
        f"{advice}; close other programs, or try all the same with --force"
    )


def _what_fits(needs: Needs, available: int, context: int, kv_type: str) -> Iterator[str]:
    each = needs.kv_per_token(kv_type) + needs.per_token
    room = int((available - needs.weights - needs.fixed) / each) // _STEP * _STEP if each else 0
    if 2 * _STEP <= room < context:
        yield f"with a context of {room:,}"
    if needs.kv_bytes is None and needs.heads % 32 == 0:
        for smaller in ("q8_0", "q4_0"):
            if KV_TYPES[smaller] < KV_TYPES[kv_type] and needs.total(context, smaller) <= available:
                yield f"with the KV type {smaller}"
                break
    for name, bits in _QUANTISED.items():
        weights = int(needs.parameters * bits / 8)
        if 0 < weights < 0.95 * needs.weights and needs.total(context, kv_type) - needs.weights + weights <= available:
            yield f"as {name} (weights of about {_size(weights)})"
            break


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(number, 0) / 1e6:.0f} MB"
