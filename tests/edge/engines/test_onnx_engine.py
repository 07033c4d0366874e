"""The onnxruntime-genai engine. Oracles: a bare loop on onnxruntime-genai, transformers, and llama.cpp for tokens,
their text and the choice among them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import edge
import engines_under_test as under_test
import genai
import standin
import upstream
import vocabularies
from edge import Message, Model, Sampling
from edge.engines.tokenizer import HuggingFaceTokenizer
from edge.errors import AdapterError, FormatError, ModelError, ModelNotFound
from engines_under_test import LEARNT, LINES, Files, asked

PLAIN = Sampling(repeat_penalty=1.0)
LAMP = "Where is the lamp?"
TEXTS = [
    "Hello, world!  Two blanks,\n\na line\tand a tab.",
    "یہ ایک چھوٹا سا جملہ ہے۔ آپ کیسے ہیں؟",
    "你好，世界！這是一個句子。",
    "🚢⛵️ 👩‍🚒🔥 é ñ ß 🇵🇰",
    "1234567890 + 42 = ∑",
    "a",
]


@pytest.fixture
def folder(engine_files: Files, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(engine_files.model("onnx"), tmp_path / "model"))


@pytest.fixture
def model(engine_files: Files) -> Iterator[Model]:
    with under_test.open_model("onnx", engine_files) as opened:
        yield opened


@pytest.mark.parametrize("question", LINES)
def test_greedy_tokens_equal_a_bare_loop(model: Model, engine_files: Files, question: str) -> None:
    engine: Any = model.engine
    prompt = engine._tokenizer.prompt(model.render(asked(question)))
    reply = model.generate(asked(question), sampling=PLAIN)
    bare = genai.greedy(genai.load(engine_files.model("onnx")), prompt, 200)
    assert bare[:-1] == engine._tokens[len(prompt) :]
    assert reply.usage.completion_tokens == len(bare) - 1


def test_a_long_prompt_is_read_in_steps_that_can_be_cancelled(model: Model) -> None:
    prompt = "a long way to go. " * 40
    steps = [delta.prefill for delta in model.stream(prompt, sampling=Sampling(max_tokens=1)) if delta.prefill]
    assert [step.done for step in steps] == [*range(64, 720, 64), model.count(prompt)]
    stream = model.stream(f"{prompt} Or is it?", sampling=Sampling(max_tokens=1))
    first = next(stream).prefill
    assert first is not None
    assert (first.cached, first.done) == (model.count(prompt), model.count(prompt) + len(" Or is it?"))
    stream.close()


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 130}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("sampling", [PLAIN, Sampling(temperature=2.0, seed=3), Sampling(temperature=2.0, seed=4)])
def test_a_reply_keeps_to_its_schema(model: Model, sampling: Sampling) -> None:
    """Of a model that has never seen JSON."""
    replies = [model.generate(asked(LAMP), sampling=sampling, response_format=PERSON) for _ in range(2)]
    for reply in replies:
        assert reply.finish == "stop"
        jsonschema.validate(json.loads(reply.text), PERSON)
    assert replies[0].text == replies[1].text
    assert replies[1].usage.cached_tokens == replies[1].usage.prompt_tokens - 1
    with pytest.raises(FormatError, match="max_tokens"):
        model.generate(asked(LAMP), sampling=Sampling(max_tokens=4), response_format=PERSON)
    assert model.generate(asked(LAMP), sampling=PLAIN).text == LINES[LAMP]


def test_a_schema_holds_under_an_adapter_and_over_multi_byte_text(model: Model, engine_files: Files) -> None:
    model.add_adapter(engine_files.lora("onnx"), name="lora")
    for adapter in ("lora", None):
        reply = model.generate(asked(LAMP), adapter=adapter, response_format={"const": "چھوٹا ماڈل, é 🚢"})
        assert json.loads(reply.text) == "چھوٹا ماڈل, é 🚢"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("genai_config.json", None, "has no genai_config.json"),
        ("genai_config.json", "{", "genai_config.json cannot be used"),
        ("genai_config.json", '{"model": {}}', "genai_config.json cannot be used"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", "{}", r"tokenizer\.json cannot be read"),
        ("tokenizer_config.json", "[", r"tokenizer_config\.json is not JSON"),
        ("model.onnx", None, r"model\.onnx is missing"),
        ("model.onnx", "no protobuf", "cannot be loaded"),
        ("model.onnx.data", "short", "cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(
    folder: Path, file: str, content: str | None, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        edge.load(folder, engine="onnx", force=True)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_chat_template_of_the_tokenizer_s_settings_counts_where_no_file_holds_one(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "{% for m in messages %}[{{ m.content }}]{{ eos_token }}{% endfor %}"},
    ]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with edge.load(folder, threads=1) as model:
        assert model.render(asked(LAMP)) == f"[{LAMP}]<|end|>"


def test_what_was_asked_for_and_is_not_there(engine_files: Files, tmp_path: Path) -> None:
    onnx = engine_files.model("onnx")
    with pytest.raises(ModelError, match="choose cpu, cuda or dml"):
        edge.load(onnx, provider="tpu")
    with pytest.raises(ModelError, match=r"context of 9,999 tokens.*4,096"):
        edge.load(onnx, context=9999)
    with pytest.raises(ModelNotFound):
        edge.load(tmp_path / "nothing", engine="onnx")
    import onnxruntime_genai

    if not onnxruntime_genai.is_dml_available():
        with pytest.raises(ModelError, match="pip install onnxruntime-genai-directml"):
            edge.load(onnx, provider="dml")
    with edge.load(onnx, threads=1, provider="cpu") as model:
        assert (model.engine.device, model.context) == ("CPU, 1 threads", 4096)


def test_an_adapter_that_does_not_fit(model: Model, engine_files: Files, tmp_path: Path) -> None:
    from onnxruntime import AdapterFormat, OrtValue

    given = AdapterFormat.read_adapter(str(engine_files.lora("onnx"))).get_parameters()
    weights = {name: value.numpy() for name, value in given.items()}
    one = next(name for name in weights if "lora_B" in name)
    rank, out = weights[one].shape
    wrong = {
        "rank": {**weights, one: np.zeros((rank + 1, out), np.float32)},
        "shape": {**weights, one: np.zeros((rank, out + 1), np.float32)},
        "half": {name: array.astype(np.float16) for name, array in weights.items()},
        "other": {name.replace("layers.1", "layers.7"): array for name, array in weights.items()},
    }
    for name, arrays in wrong.items():
        file = AdapterFormat()
        file.set_adapter_version(1)
        file.set_model_version(1)
        file.set_parameters({key: OrtValue.ortvalue_from_numpy(array) for key, array in arrays.items()})
        file.export_adapter(str(tmp_path / f"{name}.onnx_adapter"))
        with pytest.raises(AdapterError, match=rf"{name}\.onnx_adapter does not fit .*slots"):
            model.add_adapter(tmp_path / f"{name}.onnx_adapter")
    assert model.generate(asked(LAMP), sampling=PLAIN).text == LINES[LAMP]


def test_scaled_adapters_leave_no_files(engine_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with under_test.open_model("onnx", engine_files) as model:
        model.add_adapter(engine_files.lora("onnx"), name="lora")
        for scale in (0.0, 0.2, 0.4, 0.0, 1.0):
            model.generate(asked(LAMP), adapter="lora", scale=scale, sampling=Sampling(max_tokens=1))
        assert len([file for file in tmp_path.rglob("*") if file.is_file()]) <= 1
        assert model.generate(asked(LAMP), adapter="lora", sampling=PLAIN).text == LEARNT[LAMP]
    assert list(tmp_path.iterdir()) == []


def test_longrope_computes_all_keys_with_the_factors_of_one_side(tmp_path: Path) -> None:
    """Replies and prompts that go beyond 4,096 tokens and come back: always the logits of one pass over all."""
    import torch

    from edge_converters.onnx.export import export_onnx

    rope = {
        "rope_type": "longrope", "type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 4096,
        "short_factor": [1.0] * 8, "long_factor": [1.0 + 2 * i for i in range(8)], "factor": 2.0,
    }  # fmt: skip
    base = standin.make_tiny(
        tmp_path / "base", vocab_size=258, max_position_embeddings=8192, original_max_position_embeddings=4096,
        rope_parameters=rope, eos_token_id=257,
    )  # fmt: skip
    vocabularies.write_bytes(base)
    export_onnx(base, tmp_path / "onnx", precision="fp32")
    reference = genai.reference(base)
    text = "abcdefghij klmnop qrstuvw xyz. " * 160
    with edge.load(tmp_path / "onnx", context=5000, threads=1) as model, torch.no_grad():
        engine: Any = model.engine
        for length, reply in ((4090, 14), (4200, 3), (300, 3), (4200, 3), (4210, 3), (4090, 14)):
            prompt = text[:length]
            list(engine.stream(prompt, Sampling(temperature=9.0, top_k=2, seed=1, max_tokens=reply), None))
            assert len(engine._tokens) >= model.count(prompt)
            found = engine._generator.get_logits().reshape(-1)
            assert np.abs(found - genai.reference_logits(reference, engine._tokens)).max() < 1e-5


@pytest.fixture(scope="module")
def sources(starter_home: Path) -> Path:
    return upstream.sources(starter_home)


def llama_vocabulary(path: Path) -> Any:
    import llama_cpp

    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    return llama_cpp.llama_model_load_from_file(str(path).encode(), params)


def llama_pieces(model: Any) -> list[bytes]:
    import ctypes

    import llama_cpp

    vocab = llama_cpp.llama_model_get_vocab(model)
    buffer = ctypes.create_string_buffer(512)
    sizes = (
        llama_cpp.llama_token_to_piece(vocab, token, buffer, 512, 0, False)
        for token in range(llama_cpp.llama_vocab_n_tokens(vocab))
    )
    return [buffer.raw[:size] for size in sizes]


def llama_tokens(model: Any, text: str, *, add_special: bool) -> list[int]:
    import llama_cpp

    raw = text.encode()
    tokens = (llama_cpp.llama_token * (len(raw) + 8))()
    vocab = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocab, raw, len(raw), tokens, len(tokens), add_special, True)
    return list(tokens[:count])


def test_byte_level_tokens_and_their_text_are_llama_cpp_s(stand_in: Path, smollm_path: Path) -> None:
    import llama_cpp

    ours, theirs = HuggingFaceTokenizer(stand_in), llama_vocabulary(smollm_path)
    pieces = llama_pieces(theirs)
    assert [ours.piece(token) for token in range(len(pieces))] == pieces
    for text in (*TEXTS, ours.template.render([Message("user", " ".join(TEXTS))])):
        assert ours.prompt(text) == llama_tokens(theirs, text, add_special=True)
        assert spoken(ours, ours.tokens(text)) == text.replace("<|im_start|>", "").replace("<|im_end|>", "")
    llama_cpp.llama_model_free(theirs)


def test_sentencepiece_tokens_and_their_text_are_llama_cpp_s(sources: Path, tmp_path: Path) -> None:
    """Phi-3's vocabulary: blanks in front of words, bytes for what is in no piece."""
    import llama_cpp

    vocabulary = sources / "models" / "ggml-vocab-phi-3.gguf"
    vocabularies.write_sentencepiece(vocabulary, tmp_path)
    vocabularies.write_merges(tmp_path / "tokenizer.model", tmp_path)
    ours, theirs = HuggingFaceTokenizer(tmp_path), llama_vocabulary(vocabulary)
    pieces = llama_pieces(theirs)
    assert [ours.piece(token) for token in range(len(pieces))] == pieces
    for text in TEXTS:
        tokens = ours.tokens(text)
        assert tokens == llama_tokens(theirs, text, add_special=False)
        assert spoken(ours, tokens) == f" {text}"
    llama_cpp.llama_model_free(theirs)


def spoken(tokenizer: HuggingFaceTokenizer, tokens: list[int]) -> str:
    """The joined deltas, each of which is held to be whole."""
    decoder = tokenizer.decoder()
    deltas = [decoder.decode(tokenizer.piece(token)) for token in tokens]
    assert not any("\N{REPLACEMENT CHARACTER}" in delta for delta in deltas)
    return "".join([*deltas, decoder.decode(b"", True)])


def test_the_first_token_of_a_text_stands_once(sources: Path, tmp_path: Path) -> None:
    vocabulary = sources / "models" / "ggml-vocab-llama-bpe.gguf"
    begin = "<|begin_of_text|>"
    vocabularies.write_byte_level(vocabulary, tmp_path, begin=begin)
    tokenizer = HuggingFaceTokenizer(tmp_path)
    assert tokenizer.prompt("Hello") == tokenizer.prompt(f"{begin}Hello") == [128000, *tokenizer.tokens("Hello")]


def test_the_choice_among_logits_is_llama_cpp_s() -> None:
    """Which tokens are left, in which order of samplers, and with which logits: 300 drawn settings."""
    random = np.random.default_rng(0)
    for _ in range(300):
        settings: dict[str, Any] = {
            "top_k": int(random.choice([0, 1, 5, 40, 10**6])),
            "top_p": float(random.choice([0.0, 0.3, 0.9, 1.0])),
            "min_p": float(random.choice([0.0, 0.05, 0.5, 1.0])),
            "repeat_penalty": float(random.choice([0.8, 1.0, 1.1, 3.0])),
            "repeat_last": int(random.choice([0, 1, 3, 64])),
            "temperature": float(random.choice([0.3, 1.0, 2.0])),
        }
        logits = random.normal(scale=4.0, size=200).astype(np.float32)
        said = random.integers(0, 200, size=8).tolist()
        under_test.check_choice(Sampling(seed=1, **settings), logits, said)
        under_test.check_choice(Sampling(**{**settings, "temperature": 0.0}), logits, said)


def test_draws_follow_the_probabilities() -> None:
    from edge.engines.sampling import Sampler

    logits = np.log(np.array([0.5, 0.25, 0.125, 0.1, 0.025], np.float32))
    sampler = Sampler(Sampling(temperature=1.0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, seed=2))
    counts = np.bincount([sampler.choose(logits.copy()) for _ in range(20_000)], minlength=5) / 20_000
    assert np.abs(counts - np.exp(logits)).max() < 0.01
