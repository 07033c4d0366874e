"""The proof of an export: right ones pass, and every kind of broken one fails at the check that is there for it."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import standin
from edge.engines.llamacpp.gguf_header import read_gguf_header
from edge.errors import AdapterError, ConversionError, ModelError
from edge_converters.gguf.export import export_gguf
from edge_converters.parity import check_parity
from edge_converters.parity.prompts import CONVERSATIONS
from edge_converters.parity.reference import Reference
from edge_converters.parity.texts import TEXTS, long_text
from edge_converters.types import AdapterSource, Check, Parity
from edge_converters.verify import parity_path, write_report

pytest.importorskip("peft")

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0, 2, 3, 4, 5, 6, 7, 8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Path:
    """A byte-level tokenizer of 400 tokens that splits as SmolLM2's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*TEXTS, long_text(50)], trainer)
    out = folder / "tokenizer"
    out.mkdir()
    made.save(str(out / "tokenizer.json"))
    settings = {
        "bos_token": specials[1], "eos_token": specials[2], "pad_token": specials[2], "unk_token": specials[0],
        "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }  # fmt: skip
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def make_base(folder: Path, tokenizer: Path) -> Callable[..., Path]:
    def make(name: str, architecture: str = "phi3", **config: object) -> Path:
        settings = {"vocab_size": 400, "initializer_range": 0.2, "pad_token_id": 2, **config}
        return standin.make_tiny(folder / name, architecture, tokenizer=tokenizer, **settings)

    return make


@pytest.fixture(scope="module")
def base(make_base: Callable[..., Path]) -> Path:
    return make_base("base")


@pytest.fixture(scope="module")
def adapter(folder: Path, base: Path) -> Path:
    return make_adapter(base, folder / "adapter")


def make_adapter(base: Path, out: Path, **settings: object) -> Path:
    """A LoRA with random weights on all linear layers, of a strong effect."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = {"r": 4, "lora_alpha": 8, "target_modules": standin.LINEAR, "init_lora_weights": False, **settings}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    with warnings.catch_warnings():  # it tells that embeddings are saved too
        warnings.simplefilter("ignore", UserWarning)
        model.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def good(folder: Path, base: Path, adapter: Path) -> Path:
    out = folder / "good.gguf"
    export_gguf(base, out, adapters=[AdapterSource(adapter)], precision="f16")
    return out


def proof(export: Path, base: Path, adapter: Path | None, **options: object) -> Parity:
    adapters = [] if adapter is None else [AdapterSource(adapter)]
    return check_parity(export, base=base, adapters=adapters, **options)  # type: ignore[arg-type]


def failed(parity: Parity) -> set[str]:
    return {check.name for check in parity.failed()}


def copy_of(export: Path, name: str) -> Path:
    out = export.with_name(name)
    (shutil.copytree if export.is_dir() else shutil.copy)(export, out)
    return out


def change(file: Path, old: bytes, new: bytes) -> None:
    """Replace bytes by as many others, so that everything else stays where it is."""
    data = file.read_bytes()
    assert len(old) == len(new)
    assert data.count(old) == 1
    file.write_bytes(data.replace(old, new))


def test_a_right_export_passes_every_check(good: Path, base: Path, adapter: Path) -> None:
    parity = proof(good, base, adapter)
    assert parity.passed, parity.table()
    asked = {check.name for check in parity.checks if check.passed}
    expected = {"token ids", "chat template", "stop token", "divergence", "greedy replies", "adapter effect", "tensors"}
    assert asked >= expected
    path = write_report(parity, good)
    assert path == parity_path(good) == good.with_name("good.parity.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["passed"] is True
    assert set(written["base"]["sha256"]) >= {"model.safetensors", "config.json"}


def test_a_lora_module_that_is_left_out_is_named(folder: Path, base: Path, adapter: Path) -> None:
    import safetensors.torch

    partial = copy_of(adapter, "partial")
    file = partial / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    key = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"
    tensors[key] = tensors[key] * 0
    safetensors.torch.save_file(tensors, file)
    out = folder / "partial.gguf"
    export_gguf(base, out, adapters=[AdapterSource(partial)], precision="q8_0")
    parity = proof(out, base, adapter)
    assert "tensors" in failed(parity)
    assert "blk.1.ffn_down.weight" in check(parity, "tensors").meaning
    assert "and 1 more" not in check(parity, "tensors").meaning


def test_an_adapter_that_silently_did_nothing(folder: Path, base: Path, adapter: Path) -> None:
    out = folder / "without.gguf"
    export_gguf(base, out, precision="q8_0")
    parity = proof(out, base, adapter)
    assert "adapter effect" in failed(parity)
    assert check(parity, "adapter effect").value == pytest.approx(0, abs=0.05)


def test_a_changed_template_fails_alone(good: Path, base: Path, adapter: Path) -> None:
    broken = copy_of(good, "template.gguf")
    change(broken, b"{{ '<|im_start|>assistant\n' }}", b"{{ '<|im_start|>assistant ' }}")
    assert failed(proof(broken, base, adapter)) == {"chat template"}


def test_a_wrong_end_token(good: Path, base: Path, adapter: Path) -> None:
    broken = copy_of(good, "end.gguf")
    change(
        broken, b"tokenizer.ggml.eos_token_id\x04\0\0\0\x02\0\0\0", b"tokenizer.ggml.eos_token_id\x04\0\0\0\x09\0\0\0"
    )
    parity = proof(broken, base, adapter)
    assert "stop token" in failed(parity)
    assert "names 9 as its end token" in check(parity, "stop token").meaning


def test_another_pre_tokeniser_fails_alone(good: Path, base: Path, adapter: Path) -> None:
    broken = copy_of(good, "pre.gguf")
    change(broken, b"\x06\0\0\0\0\0\0\0smollm", b"\x06\0\0\0\0\0\0\0falcon")
    assert failed(proof(broken, base, adapter)) == {"token ids"}


@pytest.mark.parametrize("precision", ["q8_0", "q4_0"])
def test_wrong_scales_in_some_rows_are_named(precision: str, folder: Path, base: Path, adapter: Path) -> None:
    out = folder / f"scales-{precision}.gguf"
    export_gguf(base, out, adapters=[AdapterSource(adapter)], precision=precision)
    tensor = read_gguf_header(out).tensors["blk.0.attn_output.weight"]
    data = np.memmap(out, np.uint8, "r+", offset=tensor.start, shape=(tensor.end - tensor.start,))
    rows = data.reshape(64, -1)
    first = rows[10:12, :2].copy().view(np.float16)
    rows[10:12, :2] = (first * np.float16(1.5)).view(np.uint8)
    data.flush()
    parity = proof(out, base, adapter)
    assert "tensors" in failed(parity)
    meaning = check(parity, "tensors").meaning
    assert meaning.startswith("blk.0.attn_output.weight loses")
    assert "in row 10" in meaning or "in row 11" in meaning


def check(parity: Parity, name: str) -> Check:
    return next(check for check in parity.checks if check.name == name)


@pytest.fixture(scope="module")
def onnx_export(folder: Path, base: Path, adapter: Path) -> Path:
    pytest.importorskip("onnxruntime_genai")
    from edge_converters.onnx.export import export_onnx

    out = folder / "onnx"
    export_onnx(base, out, adapters=[AdapterSource(adapter)], precision="fp32")
    return out


def test_a_right_onnx_export_passes(onnx_export: Path, base: Path, adapter: Path) -> None:
    parity = proof(onnx_export, base, adapter)
    assert parity.passed, parity.table()
    assert check(parity, "tensors").passed
    assert check(parity, "greedy replies").value == check(parity, "greedy replies").limit


def test_an_onnx_folder_with_a_wrong_end_token_and_template(onnx_export: Path, base: Path, adapter: Path) -> None:
    broken = copy_of(onnx_export, "onnx-broken")
    settings = json.loads((broken / "genai_config.json").read_text())
    settings["model"]["eos_token_id"] = 9
    (broken / "genai_config.json").write_text(json.dumps(settings))
    template = broken / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<|im_end|>\n'", "'<|im_end|>'"))
    assert {"stop token", "chat template"} <= failed(proof(broken, base, adapter))


def test_a_quantised_onnx_matrix_with_wrong_scales_is_named(folder: Path, base: Path, adapter: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    import onnx

    from edge_converters.onnx.export import export_onnx

    out = folder / "int8"
    export_onnx(base, out, adapters=[AdapterSource(adapter)], precision="int8")
    model = onnx.load(str(out / "model.onnx"))
    node = next(node for node in model.graph.node if node.name.startswith("/model/layers.1/mlp/up_proj/MatMul"))
    scales = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[2])
    values = onnx.numpy_helper.to_array(scales).copy()
    values.reshape(128, -1)[77] *= 1.5
    scales.CopyFrom(onnx.numpy_helper.from_array(values, scales.name))
    for file in out.glob("model.onnx*"):
        file.unlink()
    onnx.save(model, str(out / "model.onnx"), save_as_external_data=True, location="model.onnx.data")
    parity = proof(out, base, adapter)
    assert "tensors" in failed(parity)
    assert check(parity, "tensors").meaning.startswith("model/layers.1/mlp/up_proj loses")
    assert "in row 77" in check(parity, "tensors").meaning


def test_longrope_factors_that_changed_places(make_base: Callable[..., Path]) -> None:
    scaling = {**LONG, "rope_theta": 10000.0, "original_max_position_embeddings": 256}
    base = make_base(
        "long", max_position_embeddings=1024, original_max_position_embeddings=256, rope_parameters=scaling
    )
    out = base.with_name("long.gguf")
    export_gguf(base, out, precision="f16")
    parity = proof(out, base, None, lengths=(200, 600))
    assert parity.passed, parity.table()
    assert check(parity, "long prompts").passed

    header = read_gguf_header(out)
    data = bytearray(out.read_bytes())
    long, short = (header.tensors[f"rope_factors_{name}.weight"] for name in ("long", "short"))
    data[long.start : long.end], data[short.start : short.end] = (
        data[short.start : short.end],
        data[long.start : long.end],
    )
    out.write_bytes(data)
    parity = proof(out, base, None, lengths=(200, 600))
    assert failed(parity) >= {"long prompts", "divergence"}
    assert check(parity, "tensors").passed


def test_four_bits_are_held_against_four_bits_of_the_base(make_base: Callable[..., Path]) -> None:
    base = make_base("wide", hidden_size=256, intermediate_size=512)
    adapter = make_adapter(base, base.with_name("wide-adapter"))
    out = base.with_name("wide.gguf")
    export_gguf(base, out, adapters=[AdapterSource(adapter)], precision="q4_k_m")
    parity = proof(out, base, adapter)
    assert parity.passed, parity.table()
    assert check(parity, "quantisation loss").limit == 1.25
    assert parity.figures["untouched_mean_kl"] > 1e-4


def test_a_lora_file_runs_on_the_exported_base(folder: Path, base: Path, adapter: Path) -> None:
    from edge_converters.adapter import export_adapter

    out = folder / "lora.gguf"
    export_adapter(adapter, out, base=base)
    parity = proof(out, base, adapter)
    assert parity.passed, parity.table()
    assert parity.kind == "gguf-lora"
    other = make_adapter(base, folder / "other", r=2)
    parity = proof(out, base, other)
    assert "adapter effect" in failed(parity)


def test_the_users_prompts_are_asked_too(good: Path, base: Path, adapter: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        '{"prompt": "Where is the valve?"}\n{"messages": [{"role": "user", "content": "And the key?"}]}\n'
    )
    parity = proof(good, base, adapter, prompts=prompts)
    assert parity.passed
    assert check(parity, "greedy replies").value == len(CONVERSATIONS) + 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.txt", "\n \n", "holds no prompts"),
        ("p.jsonl", '{"prompt": "a"}\nnot json\n', "line 2 of .* is not JSON"),
        ("p.jsonl", '{"question": "a"}\n', "line 1 of .* has neither a prompt nor messages"),
        ("p.jsonl", '{"messages": [{"role": "robot", "content": "a"}]}\n', "known role"),
        ("p.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("p.txt", "word " * 5000, "prompt 1 of your file has"),
        ("absent.txt", None, "cannot be read"),
    ],
)
def test_a_prompts_file_that_is_none(
    name: str, content: str | bytes | None, reason: str, good: Path, base: Path, adapter: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConversionError, match=reason):
        proof(good, base, adapter, prompts=path)


def test_bad_input_is_one_sentence(
    good: Path, onnx_export: Path, base: Path, adapter: Path, make_base: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_base("other", num_hidden_layers=3)
    with pytest.raises(ConversionError, match="is an export of another model: its num_hidden_layers is 2"):
        proof(good, other, None)
    with pytest.raises(ConversionError, match="is an export of another model"):
        proof(onnx_export, other, None)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(ConversionError, match="truncated"):
        proof(cut, base, adapter)
    cut.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(ConversionError, match="truncated or damaged"):
        proof(cut, base, adapter)
    with pytest.raises(ConversionError, match="is not there"):
        proof(tmp_path / "absent.gguf", base, adapter)
    with pytest.raises(ConversionError, match=r"no genai_config\.json"):
        proof(tmp_path, base, adapter)
    with pytest.raises((AdapterError, ConversionError), match="adapter_config"):
        proof(good, base, base)
    whole = copy_of(onnx_export, "onnx-cut")
    data = whole / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        proof(whole, base, adapter)


def test_a_quantised_onnx_folder_needs_its_manifest(folder: Path, base: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    from edge_converters.onnx.export import export_onnx

    out = folder / "int4"
    export = export_onnx(base, out, precision="int4")
    Path(export.manifest).unlink()
    with pytest.raises(ConversionError, match="has no manifest beside it"):
        proof(out, base, None)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"target_modules": ["embed_tokens", "o_proj"]},
    ],
)
def test_a_streamed_reference_says_the_same(
    settings: dict[str, object], make_base: Callable[..., Path], tmp_path: Path
) -> None:
    import torch

    base = make_base("-".join(["streamed", *settings]), tie_word_embeddings=not settings, dtype="float16")
    sources = [AdapterSource(make_adapter(base, tmp_path / "one", **settings), 0.5)]
    if not settings:
        sources.append(AdapterSource(make_adapter(base, tmp_path / "two", target_modules=["o_proj"]), 2.0))
    sequences = [list(range(3, 60)), list(range(100, 110)), [7]]
    whole, streamed = (Reference(base, sources, streamed=flag) for flag in (False, True))
    plain = Reference(base, streamed=False)
    for mine, theirs, without in zip(*(it.hidden(sequences) for it in (streamed, whole, plain)), strict=True):
        assert torch.equal(streamed.logits(mine), whole.logits(theirs))
        assert not torch.equal(streamed.logits(mine), plain.logits(without))
