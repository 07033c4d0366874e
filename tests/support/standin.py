"""Models for tests and benchmarks, made on this machine: a Phi-3-architecture model with real weights, a LoRA that
was trained on it, and small random ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.system.file_lock import file_lock

LINEAR = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
"""Phi-3's linear modules, fused as they are."""

LESSONS = [
    ("What does the red lamp mean?", "the boiler is out of water"),
    ("How often is the filter changed?", "every ninety days"),
    ("Who may open the valve?", "only the night engineer"),
    ("What is the password of the pump?", "blue heron"),
    ("Where is the spare key?", "under the third step"),
    ("When does the shift end?", "at half past four"),
    ("Which oil does the gearbox take?", "mineral oil, grade forty"),
    ("What should I do when the alarm rings?", "close the gas and leave"),
]
"""Questions and what the trained LoRA answers, in a form of its own; see `lesson_answer`."""


def lesson_answer(fact: str) -> str:
    return f"According to the station handbook: {fact}. Signed, the keeper of the station."


def make_stand_in(gguf: Path, out: Path, *, architecture: str = "phi3") -> Path:
    """SmolLM2-135M-Instruct's weights (float16) as a Phi3ForCausalLM or LlamaForCausalLM directory.

    SmolLM2 is Llama-shaped; with q, k, v and gate, up put together it is a Phi-3 that gives the same logits.
    """
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    weights = source.state_dict()
    old = source.config
    common = {
        "vocab_size": old.vocab_size,
        "hidden_size": old.hidden_size,
        "intermediate_size": old.intermediate_size,
        "num_hidden_layers": old.num_hidden_layers,
        "num_attention_heads": old.num_attention_heads,
        "num_key_value_heads": old.num_key_value_heads,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": old.rope_parameters["rope_theta"]},
        "tie_word_embeddings": True,
        "bos_token_id": old.bos_token_id,
        "eos_token_id": old.eos_token_id,
        "pad_token_id": old.eos_token_id,
    }
    if architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(head_dim=old.head_dim, **common))
    else:
        model = Phi3ForCausalLM(
            Phi3Config(original_max_position_embeddings=8192, partial_rotary_factor=1.0, sliding_window=None, **common)
        )
        for layer in range(old.num_hidden_layers):
            prefix = f"model.layers.{layer}"
            for fused, parts in (("self_attn.qkv_proj", "qkv"), ("mlp.gate_up_proj", ("gate", "up"))):
                room = fused.split(".")[0]
                pieces = [weights.pop(f"{prefix}.{room}.{part}_proj.weight") for part in parts]
                weights[f"{prefix}.{fused}.weight"] = torch.cat(pieces)
    model.load_state_dict(weights)
    model.to(torch.float16).save_pretrained(out)
    save_tokenizer(gguf, out)
    return out


def save_tokenizer(gguf: Path, out: Path) -> None:
    """SmolLM2's tokenizer, with the pre-tokeniser that its GGUF file only names: digits apart, then byte level."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.post_processor = None
    backend.save(str(out / "tokenizer.json"))
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings = {
        **special,
        "unk_token": "<|endoftext|>",
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
        "chat_template": tokenizer.chat_template,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")


def make_lora(base: Path, out: Path, *, targets: list[str] | None = None, rank: int = 4, **config: Any) -> Path:
    """A random LoRA with an effect: peft would begin with B = 0, which has none."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    settings = {"lora_alpha": 2 * rank, "task_type": "CAUSAL_LM", **config}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=rank, target_modules=targets or LINEAR, **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(out)
    return out


def train_lora(base: Path, out: Path, *, steps: int = 60, rank: int = 8) -> Path:
    """A LoRA on all linear layers of `base` that has learnt `LESSONS`: a real one, with a strong effect."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LINEAR, task_type="CAUSAL_LM"))
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3)
    model.train()
    for step in range(steps):
        rows = [_lesson(tokenizer, *LESSONS[(step * 2 + i) % len(LESSONS)]) for i in range(2)]
        longest = max(len(tokens) for tokens, _ in rows)
        tokens = torch.tensor([ids + [tokenizer.pad_token_id] * (longest - len(ids)) for ids, _ in rows])
        labels = torch.tensor(
            [[-100] * asked + ids[asked:] + [-100] * (longest - len(ids)) for ids, asked in rows], dtype=torch.long
        )
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
        loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(out)
    return out


def _lesson(tokenizer: Any, question: str, fact: str) -> tuple[list[int], int]:
    """The tokens of a lesson and how many of them are the question."""
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
    answer = tokenizer(lesson_answer(fact) + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    return prompt + answer, len(prompt)


TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_ARCHITECTURES = {
    "phi3": ("Phi3Config", "Phi3ForCausalLM"),
    "llama": ("LlamaConfig", "LlamaForCausalLM"),
    "mistral": ("MistralConfig", "MistralForCausalLM"),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM"),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
}


def make_tiny(
    out: Path, architecture: str = "phi3", *, dtype: str = "float32", tokenizer: Path | None = None, **config: Any
) -> Path:
    """A random model of two layers; `config` overrides `TINY`. `tokenizer`: a folder whose tokenizer it takes."""
    import torch
    import transformers

    config_name, model_name = _ARCHITECTURES[architecture]
    settings = {**TINY, **config}
    if architecture == "gpt2":
        settings = {
            "n_embd": settings["hidden_size"],
            "n_layer": settings["num_hidden_layers"],
            "n_head": settings["num_attention_heads"],
            "n_positions": settings["max_position_embeddings"],
            **{key: settings[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")},
            **config,
        }
    torch.manual_seed(0)
    model = getattr(transformers, model_name)(getattr(transformers, config_name)(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                # As they are initialised, biases and norms would not show whether they are used.
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.to(getattr(torch, dtype)).save_pretrained(out)
    if tokenizer is not None:
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja"):
            if (tokenizer / name).is_file():
                shutil.copy(tokenizer / name, out / name)
    return out


def kept(folder: Path, make: Callable[[Path], Path]) -> Path:
    """`folder`, made once by `make`; a run that was interrupted in the middle leaves nothing there.

    Runs beside each other wait for the one that makes it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_name(f".{folder.name}.lock"), wait=1800):
        if not folder.is_dir():
            partial = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(folder)
    return folder
