"""The models that can be converted, as a table of what llama.cpp calls their tensors and hyper-parameters.

Names and keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's own converter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError, MissingExtra
from edge_converters.gguf.model import Architecture, Model, Target

if TYPE_CHECKING:
    import gguf


# What every kind of rope scaling needs beside the base frequency.
_SCALINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "dynamic": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
}
_PHI3_SCALINGS: dict[str, tuple[str, ...]] = {
    "default": ("original_max_position_embeddings",),
    "longrope": ("original_max_position_embeddings",),
}


def _common(model: Model, writer: gguf.GGUFWriter) -> None:
    """What Llama, Mistral and Qwen have in common."""
    config, lengths = model.config, model.lengths
    writer.add_block_count(model.layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(lengths["hidden"])
    writer.add_feed_forward_length(lengths["ffn"])
    writer.add_head_count(lengths["heads"])
    writer.add_head_count_kv(lengths["kv_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(model.rope["rope_theta"])
    if config.get("head_dim") is not None:
        writer.add_key_length(lengths["head"])
        writer.add_value_length(lengths["head"])
    _scaling(model, writer)


def _scaling(model: Model, writer: gguf.GGUFWriter) -> None:
    import gguf

    rope, kind = model.rope, model.rope_type
    if kind not in ("linear", "yarn"):
        return
    types = gguf.RopeScalingType
    writer.add_rope_scaling_type(types.LINEAR if kind == "linear" else types.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    if kind == "linear":
        return
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    optional = {
        "extrapolation_factor": writer.add_rope_scaling_yarn_ext_factor,
        "attention_factor": writer.add_rope_scaling_yarn_attn_factor,
        "beta_fast": writer.add_rope_scaling_yarn_beta_fast,
        "beta_slow": writer.add_rope_scaling_yarn_beta_slow,
    }
    for key, add in optional.items():
        if rope.get(key) is not None:
            add(rope[key])


def _llama(model: Model, writer: gguf.GGUFWriter) -> None:
    _common(model, writer)
    writer.add_vocab_size(model.lengths["vocab"])
    writer.add_rope_dimension_count(model.lengths["head"])


def _phi3(model: Model, writer: gguf.GGUFWriter) -> None:
    config, lengths = model.config, model.lengths
    context, original = config["max_position_embeddings"], model.rope["original_max_position_embeddings"]
    writer.add_context_length(context)
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_embedding_length(lengths["hidden"])
    writer.add_feed_forward_length(lengths["ffn"])
    writer.add_block_count(model.layers)
    writer.add_head_count(lengths["heads"])
    writer.add_head_count_kv(lengths["kv_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(model.rotary)
    writer.add_rope_freq_base(model.rope["rope_theta"])
    # llama.cpp tells Phi-4 from Phi-3 by a window of zero.
    writer.add_sliding_window(config.get("sliding_window") or 0)
    if model.rope_type == "longrope":
        stretch = context / original
        scaled = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
        writer.add_rope_scaling_attn_factors(scaled)


def _with_biases(weights: Iterable[tuple[str, Target]]) -> dict[str, Target]:
    """Linear layers, which may have a bias each."""
    found = {}
    for name, target in weights:
        found[f"{name}.weight"] = Target(f"{target.name}.weight", target.shape, target.interleaved)
        found[f"{name}.bias"] = Target(f"{target.name}.bias", target.shape[:1], target.interleaved, optional=True)
    return found


def _block(*, interleaved: bool = False, head_norms: bool = False) -> dict[str, Target]:
    linear = {
        "self_attn.q_proj": Target("attn_q", ("q", "hidden"), interleaved),
        "self_attn.k_proj": Target("attn_k", ("kv", "hidden"), interleaved),
        "self_attn.v_proj": Target("attn_v", ("kv", "hidden")),
        "self_attn.o_proj": Target("attn_output", ("hidden", "q")),
        "mlp.gate_proj": Target("ffn_gate", ("ffn", "hidden")),
        "mlp.up_proj": Target("ffn_up", ("ffn", "hidden")),
        "mlp.down_proj": Target("ffn_down", ("hidden", "ffn")),
    }
    norms = {
        "self_attn.q_norm.weight": Target("attn_q_norm.weight", ("head",)),
        "self_attn.k_norm.weight": Target("attn_k_norm.weight", ("head",)),
    }
    return _NORMS | _with_biases(linear.items()) | (norms if head_norms else {})


_NORMS = {
    "input_layernorm.weight": Target("attn_norm.weight", ("hidden",)),
    "post_attention_layernorm.weight": Target("ffn_norm.weight", ("hidden",)),
}
_PHI3_BLOCK = _NORMS | {
    "self_attn.qkv_proj.weight": Target("attn_qkv.weight", ("qkv", "hidden")),
    "self_attn.o_proj.weight": Target("attn_output.weight", ("hidden", "q")),
    "mlp.gate_up_proj.weight": Target("ffn_up.weight", ("gate_up", "hidden")),
    "mlp.down_proj.weight": Target("ffn_down.weight", ("hidden", "ffn")),
}
ARCHITECTURES = (
    Architecture("phi3", ("Phi3ForCausalLM", "phi3"), _PHI3_BLOCK, _phi3),
    Architecture("llama", ("LlamaForCausalLM", "llama"), _block(interleaved=True), _llama),
    Architecture("llama", ("MistralForCausalLM", "mistral"), _block(interleaved=True), _llama),
    Architecture("qwen2", ("Qwen2ForCausalLM", "qwen2"), _block(), _common),
    Architecture("qwen3", ("Qwen3ForCausalLM", "qwen3"), _block(head_norms=True), _common),
)
SUPPORTED = "Phi-3, Phi-3.5 and Phi-4-mini, Llama 2 and 3, SmolLM2, Mistral, Qwen2, Qwen2.5 and Qwen3 (without experts)"


def read_model(directory: Path, config: Mapping[str, Any]) -> Model:
    """The model of a directory whose config.json is `config`.

    Raises ConversionError, with what is supported, for another architecture, experts or quantised weights.
    """
    architecture = _architecture(directory, config)
    if config.get("quantization_config"):
        raise ConversionError(
            f"{directory} is quantised already ({config['quantization_config'].get('quant_method', 'unknown')}); "
            "convert the original model, whose weights are float16, bfloat16 or float32"
        )
    complete = _complete(directory, {"model_type": architecture.classes[1], **config})
    rope = _rope(complete)
    heads = int(complete["num_attention_heads"])
    head = int(complete.get("head_dim") or complete["hidden_size"] // heads)
    kv_heads = int(complete.get("num_key_value_heads") or heads)
    lengths = {
        "vocab": int(complete["vocab_size"]),
        "hidden": int(complete["hidden_size"]),
        "ffn": int(complete["intermediate_size"]),
        "gate_up": 2 * int(complete["intermediate_size"]),
        "head": head,
        "heads": heads,
        "kv_heads": kv_heads,
        "q": heads * head,
        "kv": kv_heads * head,
        "qkv": (heads + 2 * kv_heads) * head,
    }
    model = Model(architecture, directory, complete, rope, lengths)
    _check_rope(model)
    return model


def _check_rope(model: Model) -> None:
    known = _PHI3_SCALINGS if model.architecture.name == "phi3" else _SCALINGS
    if model.rope_type not in known:
        raise ConversionError(
            f"config.json of {model.directory} scales its rope by {model.rope_type!r}; a {model.kind} model can be "
            f"converted with {', '.join(known)}"
        )
    absent = [key for key in ("rope_theta", *known[model.rope_type]) if model.rope.get(key) is None]
    if absent:
        raise ConversionError(f"config.json of {model.directory} has no {absent[0]} for its rope; fetch it again")


def _architecture(directory: Path, config: Mapping[str, Any]) -> Architecture:
    names = config.get("architectures") or [config.get("model_type")]
    found = next((known for known in ARCHITECTURES if names[0] in known.classes), None)
    if found is not None and not config.get("num_local_experts") and not config.get("num_experts"):
        return found
    raise ConversionError(
        f"{directory} is a {names[0]}, which edge cannot convert to GGUF itself; it can convert {SUPPORTED}. For "
        "others fetch llama.cpp's sources and name their folder with --converter PATH"
    )


def _complete(directory: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the defaults of its kind and the newest spelling of every key."""
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingExtra("transformers", "convert") from error
    try:
        complete: dict[str, Any] = AutoConfig.for_model(**config).to_dict()
    except Exception as error:  # transformers and its libraries have errors of their own for contradictions
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ConversionError(
            f"config.json of {directory} cannot be used: {reason[0].strip()}; fetch it again"
        ) from error
    return complete


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    for key in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):
        if key not in rope and config.get(key) is not None:
            rope[key] = config[key]
    rope.setdefault("rope_type", rope.get("type", "default"))
    return rope
