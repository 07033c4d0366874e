"""Small random GGUF models, written by the gguf package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def make_seed(out: Path, architecture: str, *, controls: Sequence[str] = ()) -> Path:
    """A random model of two layers: "phi3" with LongRoPE and a byte-level vocabulary, "llama" with a SentencePiece
    one, "qwen2" with biases. `controls` are further control tokens.
    """
    import gguf
    import numpy as np

    generator = np.random.default_rng(0)
    width, forward, heads, shared, layers = 64, 96, 4, 2, 2
    writer = gguf.GGUFWriter(out, architecture)
    writer.add_name("tiny")
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(0)
    vocabulary = _add_vocabulary(writer, "llama" if architecture == "llama" else "gpt2", controls)

    def add(name: str, *shape: int) -> None:
        values = generator.standard_normal(shape).astype(np.float32) * 0.1
        writer.add_tensor(name, values + 1 if name.endswith("norm.weight") else values)

    key = width // heads * shared
    add("token_embd.weight", vocabulary, width)
    add("output_norm.weight", width)
    if architecture == "phi3":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_orig_ctx_len(128)
        add("rope_factors_long.weight", width // heads // 2)
        add("rope_factors_short.weight", width // heads // 2)
    for layer in range(layers):
        block = f"blk.{layer}"
        add(f"{block}.attn_norm.weight", width)
        add(f"{block}.ffn_norm.weight", width)
        add(f"{block}.attn_output.weight", width, width)
        add(f"{block}.ffn_down.weight", width, forward)
        if architecture == "phi3":
            add(f"{block}.attn_qkv.weight", width + 2 * key, width)
            add(f"{block}.ffn_up.weight", 2 * forward, width)
            continue
        for name, rows in (("attn_q", width), ("attn_k", key), ("attn_v", key)):
            add(f"{block}.{name}.weight", rows, width)
            if architecture == "qwen2":
                add(f"{block}.{name}.bias", rows)
        add(f"{block}.ffn_up.weight", forward, width)
        add(f"{block}.ffn_gate.weight", forward, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _add_vocabulary(writer: Any, model: str, controls: Sequence[str]) -> int:
    specials = ["<unk>", "<|im_start|>", "<|im_end|>", *controls]
    kinds = [2, 3, 3, *(3 for _ in controls)]
    if model == "llama":
        tokens = specials + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", "a", "b", "▁a", "ab"]
        kinds += [6] * 256 + [1] * 5
        writer.add_token_scores([float(-i) for i in range(len(tokens))])
    else:
        letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
        letters += [256 + i for i in range(256 - len(letters))]
        tokens = specials + [chr(letter) for letter in letters] + ["ab", "th"]
        kinds += [1] * 258
        writer.add_token_merges(["a b", "t h"])
        writer.add_tokenizer_pre("default")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)
