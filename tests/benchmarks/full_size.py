"""A full-size Phi-3-mini with random weights and a LoRA for it, written to disk without ever being in memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

HIDDEN, WIDE, VOCABULARY, RANK = 3072, 8192, 32064, 16
# Phi-3's SentencePiece model has so many; the rest of the vocabulary are added tokens.
PIECES = 32000
SHARD = 5_000_000_000
LINEAR = {
    "self_attn.qkv_proj": (3 * HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_up_proj": (2 * WIDE, HIDDEN),
    "mlp.down_proj": (HIDDEN, WIDE),
}


def make_model(folder: Path, llama_cpp: Path, layers: int) -> None:
    """A Phi3ForCausalLM directory, written a few megabytes at a time."""
    from transformers import Phi3Config

    config = Phi3Config(
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=VOCABULARY,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        sliding_window=2047,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=32000,
        pad_token_id=32000,
        architectures=["Phi3ForCausalLM"],
        dtype="float16",
    )
    config.save_pretrained(folder)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        shapes.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in LINEAR.items()})
        norms = ("input_layernorm", "post_attention_layernorm")
        shapes.update({f"model.layers.{layer}.{name}.weight": (HIDDEN,) for name in norms})
    shapes.update({"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)})
    _write_shards(folder, shapes)
    _write_tokenizer(folder, llama_cpp / "models" / "ggml-vocab-phi-3.gguf")


def _write_shards(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    for name, shape in shapes.items():
        if sum(map(_bytes, shards[-1].values())) + _bytes(shape) > SHARD:
            shards.append({})
        shards[-1][name] = shape
    files = {f"model-{i + 1:05}-of-{len(shards):05}.safetensors": shard for i, shard in enumerate(shards)}
    for name, shard in files.items():
        _write_shard(folder / name, shard)
    index = {
        "metadata": {"total_size": sum(map(_bytes, shapes.values()))},
        "weight_map": {tensor: name for name, shard in files.items() for tensor in shard},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _bytes(shape: tuple[int, ...]) -> int:
    return 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)


def _write_shard(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in shapes.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [position, position + _bytes(shape)]}
        position += _bytes(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    torch.manual_seed(position)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            left = _bytes(shape) // 2
            while left:
                count = min(left, 1 << 21)
                numbers = torch.ones(count) if len(shape) == 1 else torch.randn(count) * 0.02
                out.write(numbers.half().numpy().tobytes())
                left -= count


def _write_tokenizer(folder: Path, vocabulary: Path) -> None:
    """Phi-3's SentencePiece model from a GGUF file that holds nothing but it."""
    import gguf
    import sentencepiece.sentencepiece_model_pb2 as proto

    fields = gguf.GGUFReader(vocabulary).fields
    parts = [fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type")]
    model = proto.ModelProto()
    pieces = list(zip(*parts, strict=True))
    for text, score, kind in pieces[:PIECES]:
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = proto.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.add_dummy_prefix = True
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "chat_template": fields["tokenizer.chat_template"].contents(),
        "added_tokens_decoder": {
            str(token): {"content": text, "special": True, "normalized": False, "lstrip": False, "rstrip": False}
            for token, (text, _, _) in enumerate(pieces)
            if token >= PIECES
        },
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def make_lora(folder: Path, base: Path, layers: int) -> None:
    """A random LoRA as PEFT would save it."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(7)
    tensors = {}
    for layer in range(layers):
        for name, (outs, ins) in LINEAR.items():
            key = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(RANK, ins) * 0.02
            tensors[f"{key}.lora_B.weight"] = torch.randn(outs, RANK) * 0.02
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = [name.split(".")[1] for name in LINEAR]
    LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=targets,
        base_model_name_or_path=str(base),
        task_type="CAUSAL_LM",
        inference_mode=True,
    ).save_pretrained(folder)
