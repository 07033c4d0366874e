"""Encoders and rerankers through optimum, held against sentence-transformers on torch.

optimum cannot live with transformers 5, so that these tests run in an environment of their own (see the README).
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import ConversionError
from edge_converters.encoder.directory import convert_encoder
from edge_converters.encoder.int8 import quantize_products
from edge_converters.encoder.optimum import Exporter
from edge_index.encoders.encoder import Encoder

if find_spec("optimum") is None:
    pytest.skip("optimum is not installed: it has an environment of its own, see the README", allow_module_level=True)

import onnxruntime
import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

# ModernBERT's own module compiles a function when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")

TEXTS = [
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "Über naïve Dämme, 漢字 and 🎉",
    "Everyone may copy, change and sell the work, as long as the notice stays. " * 12,
    "",
]
PAIRS = [("how high is the dam", "the dam is 196 metres high"), ("who", "nobody knows " * 30), ("a", "b")]
SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
SETTINGS: dict[str, dict[str, Any]] = {
    "Bert": SMALL,
    "MPNet": {**SMALL, "pad_token_id": 1},
    "DistilBert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
    # Windows of local attention that the longer texts pass, and angles that are not the usual ones.
    "ModernBert": {
        **SMALL,
        "local_attention": 16,
        "pad_token_id": 30,
        "global_rope_theta": 500.0,
        "local_rope_theta": 50.0,
    },
    "Qwen3": {**SMALL, "num_key_value_heads": 2, "head_dim": 8, "rope_theta": 300.0, "use_cache": False},
}
POOLINGS = {"ModernBert": "cls", "Qwen3": "lasttoken"}


def save_tokenizer(directory: Path, *, padding: int, types: bool) -> int:
    """A WordPiece tokenizer over the letters; how many tokens it has."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    words.insert(padding, "[PAD]")
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=50))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        pad_token="[PAD]",
        model_max_length=500,
        model_input_names=["input_ids", "attention_mask", *(["token_type_ids"] if types else [])],
    ).save_pretrained(directory)
    return len(words)


def save_base(directory: Path, architecture: str, head: str = "Model", **settings: Any) -> None:
    """A random model that has a tokenizer; the large weights make attention matter."""
    torch.manual_seed(3)
    settings = {"initializer_range": 0.3, "max_position_embeddings": 512, **SETTINGS[architecture], **settings}
    settings.setdefault("pad_token_id", 0)
    size = save_tokenizer(directory, padding=settings["pad_token_id"], types=architecture == "Bert")
    config = getattr(transformers, architecture + "Config")(vocab_size=size, **settings)
    model = getattr(transformers, architecture + head)(config)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower() or name.endswith("bias"):
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(directory)


def make(directory: Path, architecture: str) -> Any:
    """Save a sentence-transformers encoder below `directory`; return it."""
    save_base(directory.with_name(directory.name + "-base"), architecture)
    transformer = Transformer(str(directory.with_name(directory.name + "-base")))
    pooling = Pooling(32, POOLINGS.get(architecture, "mean"))
    model = sentence_transformers.SentenceTransformer(modules=[transformer, pooling], device="cpu")
    model.save(str(directory), create_model_card=False)
    return model


def make_reranker(directory: Path, architecture: str, activation: Any, **settings: Any) -> Any:
    base = directory.with_name(directory.name + "-base")
    save_base(base, architecture, "ForSequenceClassification", **{"num_labels": 1, **settings})
    model = sentence_transformers.CrossEncoder(str(base), activation_fn=activation, device="cpu")
    model.save_pretrained(str(directory))
    return model


def reference(model: Any, texts: list[str]) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    return vectors


def cosines(directory: Path, model: Any, variant: Any = "int8") -> NDArray[np.float32]:
    with Encoder.open(directory, variant=variant, cache=directory / "nothing to be put here") as encoder:
        assert encoder.max_tokens == model.max_seq_length
        found = (encoder.encode(TEXTS) * reference(model, TEXTS)).sum(axis=1)
    assert not (directory / "nothing to be put here").exists()
    return found


@pytest.mark.parametrize("architecture", ["MPNet", "DistilBert", "ModernBert", "Qwen3"])
def test_the_index_finds_what_sentence_transformers_finds(tmp_path: Path, architecture: str) -> None:
    model = make(tmp_path / "m", architecture)
    export = convert_encoder(tmp_path / "m", tmp_path / "fp32", variant="fp32")
    assert export.kind == "encoder"
    assert cosines(tmp_path / "fp32", model).min() > 0.9999
    convert_encoder(tmp_path / "m", tmp_path / "int8")
    assert cosines(tmp_path / "int8", model).min() > 0.98
    manifest = json.loads(Path(export.manifest).read_text())
    assert manifest["options"]["exporter"] == "optimum"
    assert manifest["options"]["difference"] < 1e-4


def test_a_real_model_through_optimum_equals_our_own_exporter(minilm_dir: Path, tmp_path: Path) -> None:
    oracle = sentence_transformers.SentenceTransformer(str(minilm_dir), device="cpu")
    texts = [*TEXTS, *(Path(__file__).parents[2] / "LICENSE").read_text().split("\n\n")]
    ours = convert_encoder(minilm_dir, tmp_path / "ours", variant="fp32")
    assert json.loads(Path(ours.manifest).read_text())["options"]["exporter"] == "edge"
    convert_encoder(minilm_dir, tmp_path / "ours8")
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    shutil.copytree(tmp_path / "ours8", tmp_path / "theirs8")
    exporter = Exporter(minilm_dir, "feature-extraction")
    exporter.export(tmp_path / "theirs" / "onnx" / "model.onnx")
    quantize_products(tmp_path / "theirs/onnx/model.onnx", tmp_path / "theirs8/onnx/model_int8.onnx")
    vectors = {}
    for name in ("ours", "ours8", "theirs", "theirs8"):
        with Encoder.open(tmp_path / name) as encoder:
            vectors[name] = encoder.encode(texts)
    expected = reference(oracle, texts)
    least = {name: float((found * expected).sum(axis=1).min()) for name, found in vectors.items()}
    assert min(least["ours"], least["theirs"]) >= 0.9999
    assert min(least["ours8"], least["theirs8"]) > 0.97


@pytest.mark.parametrize(
    ("architecture", "labels", "activation"),
    [
        ("Bert", 1, torch.nn.Sigmoid()),
        ("DistilBert", 1, torch.nn.Identity()),
        ("MPNet", 1, torch.nn.Sigmoid()),
        ("ModernBert", 3, torch.nn.Identity()),
    ],
)
def test_a_reranker_scores_as_the_cross_encoder_does(
    tmp_path: Path, architecture: str, labels: int, activation: Any
) -> None:
    model = make_reranker(tmp_path / "m", architecture, activation, num_labels=labels)
    expected = model.predict(PAIRS, show_progress_bar=False)
    for variant, name, tolerance in (("fp32", "model.onnx", 1e-4), ("int8", "model_int8.onnx", 0.2)):
        export = convert_encoder(tmp_path / "m", tmp_path / variant, variant=variant)  # type: ignore[arg-type]
        assert export.kind == "reranker"
        tokenizer = Tokenizer.from_file(str(tmp_path / variant / "tokenizer.json"))
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
        encodings = tokenizer.encode_batch(PAIRS)
        values = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        session = onnxruntime.InferenceSession(tmp_path / variant / "onnx" / name, providers=["CPUExecutionProvider"])
        feed = {given.name: np.array(values[given.name]) for given in session.get_inputs()}
        scores = activation(torch.from_numpy(session.run(["logits"], feed)[0])).numpy()
        np.testing.assert_allclose(scores.reshape(expected.shape), expected, atol=tolerance)


def test_what_is_made_runs_without_torch_and_optimum(tmp_path: Path) -> None:
    model = make(tmp_path / "m", "ModernBert")
    convert_encoder(tmp_path / "m", tmp_path / "out", variant="fp32")
    assert not list((tmp_path / "out").rglob("*.safetensors"))
    program = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'optimum', 'sentence_transformers', 'onnx', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
        "from edge_index.encoders.encoder import Encoder\n"
        "print(Encoder.open(sys.argv[1]).encode([sys.argv[2]])[0].tolist())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out"), TEXTS[1]]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
    assert float(np.array(json.loads(printed)) @ reference(model, [TEXTS[1]])[0]) > 0.9999


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize("architecture", ["ModernBert", "Qwen3"])
def test_a_config_of_transformers_5_means_the_same(tmp_path: Path, architecture: str) -> None:
    """transformers 4 passes over rope_parameters in silence."""
    model = make(tmp_path / "m", architecture)
    if architecture == "Qwen3":
        changes = {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}
    else:
        parts = {"full_attention": 500.0, "sliding_attention": 50.0}
        changes = {
            "global_rope_theta": None,
            "local_rope_theta": None,
            "rope_parameters": {key: {"rope_type": "default", "rope_theta": theta} for key, theta in parts.items()},
        }
    _edit(tmp_path / "m" / "config.json", **changes)
    convert_encoder(tmp_path / "m", tmp_path / "out", variant="fp32")
    assert cosines(tmp_path / "out", model).min() > 0.9999


def _drop(*names: str) -> Any:
    def spoil(directory: Path) -> None:
        from safetensors.numpy import load_file, save_file

        weights = load_file(directory / "model.safetensors")
        save_file(
            {name: value for name, value in weights.items() if name not in names},
            directory / "model.safetensors",
            {"format": "pt"},
        )

    return spoil


def _only_pickle(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps({}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_only_pickle, "pickle"),
        (_drop("transformer.layer.1.ffn.lin1.weight"), "lacks transformer.layer.1.ffn.lin1.weight"),
        (lambda d: _edit(d / "config.json", dim=64), "another shape|cannot load"),
        (lambda d: _edit(d / "config.json", model_type="megalodon"), "megalodon"),
        (lambda d: _edit(d / "config.json", model_type="nystromformer"), "cannot|lacks"),
        (lambda d: _edit(d / "config.json", rope_parameters={"far": {}}), "rope_parameters"),
        (lambda d: (d / "model.safetensors").write_bytes(b"12345678"), "model.safetensors"),
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), "tokenizer.json"),
        (lambda d: (d / "modules.json").write_text('[{"type": "a.Transformer"}, {"type": "a.Dense"}]'), "Dense"),
        (lambda d: (d / "modules.json").write_text('[{"type": "a.Transformer", "path": "../x"}]'), "outside"),
        (lambda d: (d / "modules.json").write_text('[{"type": "a.Transformer"}]'), "neither"),
    ],
)
def test_unusable_models_are_named_and_leave_nothing(tmp_path: Path, spoil: Any, words: str) -> None:
    make(tmp_path / "m", "DistilBert")
    spoil(tmp_path / "m")
    (tmp_path / "place").mkdir()
    with pytest.raises(ConversionError, match=words) as caught:
        convert_encoder(tmp_path / "m", tmp_path / "place" / "out")
    assert str(tmp_path / "m") in str(caught.value)
    assert not list((tmp_path / "place").iterdir())
    assert "\n" not in str(caught.value)


def test_a_reranker_without_its_head_is_not_filled_with_random_numbers(tmp_path: Path) -> None:
    make_reranker(tmp_path / "m", "DistilBert", torch.nn.Identity())
    _drop("classifier.weight")(tmp_path / "m")
    with pytest.raises(ConversionError, match=r"lacks classifier\.weight"):
        convert_encoder(tmp_path / "m", tmp_path / "out")


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_an_export_that_computes_something_else_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    import onnx
    from optimum.exporters import onnx as optimum

    original = optimum.export

    def export(model: Any, config: Any, output: Path, **settings: Any) -> None:
        original(model, config, output, **settings)
        file = onnx.load(output)
        tensor = max(file.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(factor), tensor.name)
        )
        onnx.save(file, output)

    monkeypatch.setattr(optimum, "export", export)
    make(tmp_path / "m", "DistilBert")
    (tmp_path / "place").mkdir()
    with pytest.raises(ConversionError, match="differs from the model"):
        convert_encoder(tmp_path / "m", tmp_path / "place" / "out")
    assert not list((tmp_path / "place").iterdir())
