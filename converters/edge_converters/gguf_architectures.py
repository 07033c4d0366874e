"""What llama.cpp calls the tensors and hyper-parameters of the models that can be converted, as a table.

Names and keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's own converter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gguf

    from edge_converters.gguf_model import Model


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor of a GGUF file: its name without `blk.N.`, its shape by the names of `Model.lengths`.

    `interleaved`: Hugging Face's Llama rotates the two halves of a head against each other and llama.cpp's
    neighbouring elements, so the rows of every head change places.
    """

    name: str
    shape: tuple[str, ...]
    interleaved: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """`name` is llama.cpp's; `classes` are Hugging Face's. `block` holds the tensors of a layer by their name there."""

    name: str
    classes: tuple[str, ...]
    block: Mapping[str, Target]
    parameters: Callable[[Model, gguf.GGUFWriter], None]


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
