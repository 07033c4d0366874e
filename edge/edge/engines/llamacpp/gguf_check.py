"""Whether the settings and tensors of a GGUF file agree with one another: what llama.cpp takes on trust and dies of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.engines.llamacpp.gguf_header import STRING, GgufHeader, Lie, read_gguf_header, refuse
from edge.errors import ModelError

_UINT32, _INT32, _FLOAT32, _BOOL, _UINT16 = 4, 5, 6, 7, 2
_MAX_LAYERS, _MAX_EXPERTS, _MAX_WIDTH, _MAX_CONTEXT = 512, 1024, 1 << 20, 1 << 28
# Architectures for which llama.cpp insists that keys and values are as long and, in the first line, rotated in full.
_TURNED_WHOLE = (
    "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "smollm3", "granite", "starcoder2", "internlm2", "olmo", "olmo2",
    "olmoe", "exaone", "mistral3", "baichuan", "falcon", "xverse", "deepseek", "ernie4_5", "seed_oss", "arcee", "deci",
)  # fmt: skip
_EQUAL = (*_TURNED_WHOLE, "phi3", "phi2", "stablelm", "gptneox", "gpt2", "bloom", "mpt", "chatglm", "nemotron")
_NO_WEIGHTS = ("I8", "I16", "I32", "I64", "F64")
_SCALINGS = ("none", "linear", "yarn", "longrope")
_BLOCK = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")


def check_gguf(path: Path, *, kind: str = "model", vocab_only: bool = False) -> GgufHeader:
    """The header of a model (of its first part, when it is split) that llama.cpp may be given.

    `kind` is what `general.type` has to say: "model" or "adapter". With `vocab_only` the tensors may be missing.
    Raises ModelNotFound, or ModelError with what is wrong.
    """
    header = read_gguf_header(path)
    said = header.settings.get("general.type", "model")
    if kind == "model" and said in ("adapter", "mmproj", "imatrix"):
        raise ModelError(f"{path} holds no model but is of the type {said!r}; give the model that it belongs to")
    try:
        _check_types(header)
        if kind == "model":
            _check_vocabulary(header)
            if not vocab_only:
                _check_model(header, [header.tensors, *_other_parts(header)])
    except Lie as lie:
        refuse(path, header.size, lie)
    return header


def parts_of(path: Path) -> list[Path]:
    """All files of a model: of a split one, those beside it with the same name."""
    found = _PART.search(path.stem)
    if found is None:
        return [path]
    total = int(found[2])
    return [path.with_name(f"{path.stem[: found.start()]}-{i:05}-of-{total:05}.gguf") for i in range(1, total + 1)]


def _other_parts(header: GgufHeader) -> list[Any]:
    """The tensors of the parts behind the first one."""
    count = header.settings.get("split.count", 0)
    if count <= 1:
        return []
    parts = parts_of(header.path)
    if header.value_types["split.count"] != _UINT16 or len(parts) != count or header.settings.get("split.no") != 0:
        raise Lie(f"it is part {header.settings.get('split.no')} of {count}: name the first, -00001-of-{count:05}.gguf")
    found = []
    for number, path in enumerate(parts[1:], 1):
        other = read_gguf_header(path)
        if (other.value_types.get("split.no"), other.settings.get("split.no")) != (_UINT16, number):
            raise Lie(f"{path.name} does not say that it is part {number + 1}")
        found.append(other.tensors)
    return found


def _check_types(header: GgufHeader) -> None:
    for key, value in header.settings.items():
        if isinstance(value, float) and (not math.isfinite(value) or (key.endswith("epsilon") and not 0 <= value < 1)):
            raise Lie(f"{key} is {value}")
    if header.value_types.get("general.architecture") != STRING:
        raise Lie("it does not say its architecture")
    for name, tensor in header.tensors.items():
        # Norms, biases and factors of rotation are added and multiplied in float32 alone.
        if len(tensor.shape) == 1 and tensor.kind != "F32":
            raise Lie(f"{name} is of type {tensor.kind} where F32 is due")
        if tensor.kind in _NO_WEIGHTS and not name.endswith("tid2eid.weight"):
            raise Lie(f"{name} is of type {tensor.kind}, which nothing can be multiplied with")


def _check_vocabulary(header: GgufHeader) -> None:
    settings, arrays, prefix = header.settings, header.arrays, "tokenizer.ggml"
    model = settings.get(f"{prefix}.model")
    if model in ("no_vocab", "none"):
        return
    tokens = arrays.get(f"{prefix}.tokens")
    if tokens is None or tokens.kind != STRING or not tokens.count:
        raise Lie("it has no tokens")
    for name, type_names in (("scores", (_FLOAT32, _INT32)), ("token_type", (_INT32,))):
        array = arrays.get(f"{prefix}.{name}")
        if array and (array.kind not in type_names or array.count != tokens.count):
            raise Lie(f"{array.count:,} {name} for {tokens.count:,} tokens")
    types = header.numbers(f"{prefix}.token_type")
    if types and not 0 <= min(types) <= max(types) <= 6:
        raise Lie("a token of an unknown type")
    if model == "bert" and 6 in types:
        raise Lie("its vocabulary has tokens for bytes, which its kind cannot spell")
    if model == "llama":
        _check_bytes(set(header.strings(f"{prefix}.tokens")))
    for name in ("bos", "eos"):
        token = settings.get(f"{prefix}.{name}_token_id", 11)
        if not isinstance(token, int) or token >= tokens.count:
            raise Lie(f"its {name} token is {token} of {tokens.count:,}")


def _check_bytes(tokens: set[bytes]) -> None:
    """A SentencePiece vocabulary spells what it lacks in bytes, and llama.cpp ends the process when it cannot."""
    for byte in range(256):
        if f"<0x{byte:02X}>".encode() not in tokens and bytes([byte]) not in tokens:
            raise Lie(f"its vocabulary has no token for the byte 0x{byte:02X}")


def _check_model(header: GgufHeader, parts: Sequence[Any]) -> None:
    prefix = f"{header.settings['general.architecture']}."
    if not any(
        key.startswith(prefix) for key in header.value_types
    ):  # llama.cpp says what it makes of the architecture
        return
    sizes = _Sizes(header, prefix)
    layers = sizes.number("block_count", 1, _MAX_LAYERS)
    sizes.number("nextn_predict_layers", 0, layers, 0)
    sizes.number("context_length", 1, _MAX_CONTEXT)
    width = sizes.number("embedding_length", 1, _MAX_WIDTH)
    sizes.number("vocab_size", 1, 1 << 24, 1)
    for tensors in parts:
        for name in tensors:
            block = _BLOCK.match(name)
            if block and int(block[1]) >= layers + sizes.number("decoder_block_count", 0, _MAX_LAYERS, 0):
                raise Lie(f"it has {name} and says that it has {layers} blocks")
    if prefix == "phi3.":  # all others insist on it themselves
        _check_attention({name for tensors in parts for name in tensors}, layers)
    _check_heads(sizes, layers, width, header.settings["general.architecture"])
    _check_experts(sizes, layers)
    scaling = sizes.text("rope.scaling.type", "none")
    if scaling not in _SCALINGS:
        raise Lie(f"the rope scaling {scaling!r}")
    sizes.number("rope.scaling.original_context_length", 1, _MAX_CONTEXT, 1)


def _check_attention(names: set[str], layers: int) -> None:
    for layer in range(layers):
        apart = all(f"blk.{layer}.attn_{part}.weight" in names for part in "qkv")
        if not apart and f"blk.{layer}.attn_qkv.weight" not in names:
            raise Lie(f"blk.{layer} lacks its attention")


def _check_heads(sizes: _Sizes, layers: int, width: int, architecture: str) -> None:
    heads = sizes.by_layer("attention.head_count", layers, 1 << 14)
    keys = sizes.by_layer("attention.head_count_kv", layers, 1 << 14) or heads
    sizes.by_layer("feed_forward_length", layers, 1 << 24)
    if not any(heads):  # a recurrent model
        return
    for layer, (head, key) in enumerate(zip(heads, keys, strict=True)):
        if key and (head % key or head < key):
            raise Lie(f"{head} heads and {key} of keys in block {layer}")
        if len(set(keys)) == 1 and not key:
            raise Lie("no head of keys")
    usual = width // heads[0] if heads[0] else 0
    longest = sizes.number("attention.key_length", 1, 1 << 14, max(usual, 1))
    values = sizes.number("attention.value_length", 1, 1 << 14, max(usual, 1))
    turned = sizes.number("rope.dimension_count", 0, longest, longest)
    if turned % 2 or (architecture in _TURNED_WHOLE and turned != longest):
        raise Lie(f"{turned} of {longest} dimensions are rotated")
    if architecture in _EQUAL and values != longest:
        raise Lie(f"keys of {longest} and values of {values} dimensions")


def _check_experts(sizes: _Sizes, layers: int) -> None:
    experts = sizes.number("expert_count", 0, _MAX_EXPERTS, 0)
    used = max(sizes.by_layer("expert_used_count", layers, _MAX_EXPERTS) or [0])
    if used > experts or (experts and not used):
        raise Lie(f"{used} of {experts} experts are used")
    groups = sizes.number("expert_group_count", 0, experts, 0)
    chosen = sizes.number("expert_group_used_count", 0, experts, 0)
    if groups > 1 and (experts % groups or not 0 < chosen < groups):
        raise Lie(f"{chosen} of {groups} groups of {experts} experts are used")


class _Sizes:
    """The numbers of an architecture, each between two bounds."""

    def __init__(self, header: GgufHeader, prefix: str) -> None:
        self._header = header
        self._prefix = prefix

    def number(self, name: str, least: int, most: int, default: int | None = None) -> int:
        value = self._header.settings.get(self._prefix + name, default)
        if value is None:
            raise Lie(f"it does not say {self._prefix}{name}")
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Lie(f"{self._prefix}{name} is {value}")
        return value

    def text(self, name: str, default: str) -> str:
        return str(self._header.settings.get(self._prefix + name, default))

    def by_layer(self, name: str, layers: int, most: int) -> list[int]:
        """One number a layer, however it is written; empty where nothing is said."""
        key = self._prefix + name
        array = self._header.arrays.get(key)
        if array is None:
            return [self.number(name, 0, most)] * layers if key in self._header.settings else []
        values = self._header.numbers(key)
        if len(values) < layers or not all(isinstance(value, int) and 0 <= value <= most for value in values):
            raise Lie(f"{key} holds {array.count:,} values for {layers} blocks")
        return [int(value) for value in values[:layers]]
