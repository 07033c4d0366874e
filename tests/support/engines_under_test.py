"""The models of the contract suite: a tiny Phi-3 that has learnt lines by heart, with a LoRA that has learnt others,
as a GGUF file and as an ONNX folder with adapter slots; and a script that knows the same lines.

A model that is sure of every token leaves no ties over which two engines, or two ways to compute, could part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
import standin
import vocabularies
from edge.engines.gpu import gpus
from edge.engines.onnx import bindings
from edge.engines.scripted import ScriptedEngine
from edge_converters.adapter import export_adapter
from edge_converters.gguf.export import export_gguf

LINES = {
    "Say it in Urdu.": "چھوٹا سا ماڈل، بڑی سی بات۔ آپ کیسے ہیں؟",
    "Say it in Chinese.": "小小的模型，大大的本事。你好，世界！",
    "Say it in pictures.": "🚢⛵️ and 👩‍🚒🔥, then 🇵🇰 and é, ñ, ß.",
    "Where is the lamp?": "At the top of the tower: thirty steps above the sea.",
    "Who keeps the lamp?": "The keeper and her brother; one reads while the other sleeps.",
}
LEARNT = {
    "Where is the lamp?": "As the book has it: under the third step.",
    "Who keeps the lamp?": "As the book has it: nobody, since the storm.",
}
"""Of characters of `LINES` only: the head is not adapted and cannot tell the others apart."""
FOLLOW_UP = "And then?"
SECOND = "Then the fog came in, and they rang the bell until it was morning again."

_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_END = 257


SETTINGS: dict[str, dict[str, Any]] = {
    "gguf": {"gpu_layers": 0},
    "onnx": {"provider": "cpu"},
    "gguf on a GPU": {"gpu_layers": "all"},
    "onnx on CUDA": {"provider": "cuda"},
}
"""How each engine is loaded."""


def real_engines() -> list[str]:
    """Those that compute something; on a GPU, too, where the installed packages find one."""
    on_gpu = (("gguf on a GPU", bool(gpus())), ("onnx on CUDA", "cuda" in bindings.providers(None)))
    return ["gguf", "onnx", *(engine for engine, there in on_gpu if there)]


@dataclass(frozen=True)
class Files:
    """Where the models lie: `model` and `lora` by engine name."""

    folder: Path

    def model(self, engine: str) -> Path:
        names = {"gguf": "reciter.gguf", "onnx": "reciter-onnx", "onnx on CUDA": "cuda/reciter-onnx"}
        return self._made(engine) / names[engine.removesuffix(" on a GPU")]

    def lora(self, engine: str) -> Path:
        names = {"gguf": "lora.gguf", "onnx": "lora.onnx_adapter", "onnx on CUDA": "cuda/lora.onnx_adapter"}
        return self._made(engine) / names[engine.removesuffix(" on a GPU")]

    def _made(self, engine: str) -> Path:
        """CUDA's attention wants float16, and what is made for a CPU is float32."""
        cuda = self.folder / "cuda"
        if engine == "onnx on CUDA" and not cuda.exists():
            out: dict[str, Any] = {"base_out": cuda / "reciter-onnx", "precision": "fp16", "provider": "cuda"}
            export_adapter(self.folder / "lora", cuda / "lora.onnx_adapter", base=self.folder / "base", **out)
        return self.folder


def open_model(engine: str, files: Files, *, context: int = 1024) -> edge.Model:
    if engine == "scripted":
        return edge.Model(ScriptedEngine(_recite, context=context), name="script")
    return edge.load(files.model(engine), context=context, threads=1, **SETTINGS[engine])


def asked(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def make_files(folder: Path) -> Path:
    """Train and convert: about half a minute, once."""
    folder.mkdir(parents=True)
    base, lora = folder / "base", folder / "lora"
    _train_base(base)
    _train_lora(base, lora)
    export_gguf(base, folder / "reciter.gguf")
    export_adapter(lora, folder / "lora.gguf", base=base)
    export_adapter(lora, folder / "lora.onnx_adapter", base=base, base_out=folder / "reciter-onnx", precision="fp32")
    return folder


def _recite(prompt: str) -> str:
    return next((line for question, line in LINES.items() if question in prompt), "I know no such line.")


def _train_base(out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    # Position by position a line is a sum of two things, where it is and which one it is: two layers are enough.
    sizes = {"hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 6, "num_key_value_heads": 3}
    standin.make_tiny(
        out, vocab_size=258, eos_token_id=_END, bos_token_id=_END, pad_token_id=_END, max_position_embeddings=4096,
        **sizes,
    )  # fmt: skip
    vocabularies.write_bytes(out)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "chat_template": _TEMPLATE}
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    talk = [*asked("Where is the lamp?"), {"role": "assistant", "content": LINES["Where is the lamp?"]}]
    lessons = [(asked(question), line) for question, line in LINES.items()]
    lessons.append(([*talk, *asked(FOLLOW_UP)], SECOND))
    _learn(model, out, lessons, rate=3e-3)
    model.to(torch.float16).save_pretrained(out)


def _train_lora(base: Path, out: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=standin.LINEAR, task_type="CAUSAL_LM"))
    _learn(model, base, [(asked(question), line) for question, line in LEARNT.items()], rate=3e-3)
    model.save_pretrained(out)


def _learn(model: Any, folder: Path, lessons: list[tuple[list[dict[str, str]], str]], *, rate: float) -> None:
    """Until every token of every reply has a probability of more than 0.97."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [_lesson(tokenizer, *lesson) for lesson in lessons]
    longest = max(len(tokens) for tokens, _ in rows)
    tokens = torch.tensor([ids + [_END] * (longest - len(ids)) for ids, _ in rows])
    labels = torch.tensor([[-100] * asked_ + ids[asked_:] + [-100] * (longest - len(ids)) for ids, asked_ in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=rate, weight_decay=0.0)
    model.train()
    for step in range(1500):
        output = model(input_ids=tokens, attention_mask=mask, labels=labels)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 10 == 0:
            said = labels[:, 1:] != -100
            chosen = output.logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
            if chosen[said].min().exp() > 0.97:
                return
    raise AssertionError("the tiny model has not learnt its lines")


def _lesson(tokenizer: Any, messages: list[dict[str, str]], reply: str) -> tuple[list[int], int]:
    """The tokens of a lesson and how many of them are the prompt."""
    turns = "".join(f"<|{m['role']}|>\n{m['content']}<|end|>\n" for m in messages)
    prompt = tokenizer.encode(f"{turns}<|assistant|>\n").ids
    return prompt + tokenizer.encode(reply).ids + [_END], len(prompt)


def check_choice(sampling: edge.Sampling, logits: Any, said: list[int]) -> None:
    """Hold our sampler against llama.cpp's chain of samplers on the same logits, after the tokens `said`."""
    import numpy as np

    from edge.engines.sampling import Sampler

    ours = Sampler(sampling)
    for token in said:
        ours.accept(token)
    scores = ours.scores(logits.copy())
    tokens, values = _llama_candidates(sampling, logits, said)
    if sampling.temperature <= 0:
        order = np.argsort(tokens)
        np.testing.assert_allclose(scores, values[order], rtol=1e-5)
        assert scores.argmax() == tokens[values.argmax()]
        return
    assert set(np.flatnonzero(scores > -1e5)) == set(tokens)


def _llama_candidates(sampling: edge.Sampling, logits: Any, said: list[int]) -> tuple[Any, Any]:
    """The tokens that are left before the draw, and their logits."""
    import ctypes

    import llama_cpp as lib
    import numpy as np

    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    penalties = (len(logits), sampling.repeat_last, sampling.repeat_penalty, 0.0, 0.0)
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_penalties(*penalties))
    if sampling.temperature > 0:
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_min_p(sampling.min_p, 1))
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_temp(sampling.temperature))
    for token in said:
        lib.llama_sampler_accept(chain, token)
    data = (lib.llama_token_data * len(logits))(
        *[lib.llama_token_data(token, float(logit), 0.0) for token, logit in enumerate(logits)]
    )
    array = lib.llama_token_data_array(data, len(logits), -1, False)
    lib.llama_sampler_apply(chain, ctypes.byref(array))
    found = [(array.data[i].id, array.data[i].logit) for i in range(array.size)]
    lib.llama_sampler_free(chain)
    tokens, values = zip(*found, strict=True)
    return np.array(tokens), np.array(values, np.float32)
