"""The oracle of these tests is sentence-transformers on torch."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.errors import EncoderError, MissingExtra
from edge_index.encoders.encoder import Encoder

sentence_transformers = pytest.importorskip("sentence_transformers")
transformers: Any = pytest.importorskip("transformers")

PROSE = "\n".join(str(import_module(name).__doc__) for name in ("json", "argparse", "typing", "decimal", "random"))
ODD = [
    "",
    " \n\t",
    "x",
    "naïve Übergröße ﬁ 漢字かな 🎉👩\u200d👩\u200d👧 \u200b İSTANBUL",
    "word " * 3000,
    "a" * 500,
    "\x00\x07 ctrl",
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real sentences, paragraphs and odd texts, of 0 to 3,000 words."""
    licence = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
    paragraphs = [text for text in (licence + "\n\n" + PROSE).split("\n\n") if text.strip()]
    sentences = [part for text in paragraphs[:20] for part in text.split(". ")]
    return paragraphs + sentences + ODD


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def oracle(minilm_dir: Path) -> Any:
    return sentence_transformers.SentenceTransformer(str(minilm_dir), device="cpu")


@pytest.fixture
def encoder(minilm_dir: Path, cache: Path) -> Iterator[Encoder]:
    with Encoder.open(minilm_dir, cache=cache) as opened:
        yield opened


def reference(oracle: Any, texts: list[str]) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = oracle.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    return vectors


def make(directory: Path, pooling: str = "mean", **transformer: Any) -> Any:
    """Save a random sentence-transformers model of 2 layers, 32 wide, over the letters; return it."""
    import torch
    from sentence_transformers import models

    torch.manual_seed(5)
    base = directory.with_name(directory.name + "-base")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    base.mkdir()
    (base / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(base / "vocab.txt"), do_lower_case=False).save_pretrained(base)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.3,
    )
    transformers.BertModel(config).save_pretrained(base)
    module = models.Transformer(str(base), **transformer)
    model = sentence_transformers.SentenceTransformer(modules=[module, models.Pooling(32, pooling)], device="cpu")
    model.save(str(directory), create_model_card=False)
    return model


def test_fp32_vectors_are_those_of_sentence_transformers(
    minilm_dir: Path, cache: Path, oracle: Any, texts: list[str]
) -> None:
    with Encoder.open(minilm_dir, variant="fp32", cache=cache) as encoder:
        vectors = encoder.encode(texts)
        assert (encoder.name, encoder.dim, encoder.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * reference(oracle, texts)).sum(axis=1).min() >= 0.9999


def test_int8_vectors_are_near_them(encoder: Encoder, oracle: Any, texts: list[str]) -> None:
    cosines = (encoder.encode(texts) * reference(oracle, texts)).sum(axis=1)
    assert cosines.min() > 0.97
    assert cosines.mean() > 0.995


def test_a_vector_depends_neither_on_order_nor_on_company(encoder: Encoder, texts: list[str]) -> None:
    some = texts[:25] + ODD
    vectors = encoder.encode(some)
    np.testing.assert_array_equal(encoder.encode(some[::-1]), vectors[::-1])
    np.testing.assert_array_equal(np.concatenate([encoder.encode([text]) for text in some]), vectors)


def test_more_texts_than_one_window_keep_their_order(tmp_path: Path) -> None:
    model = make(tmp_path / "m")
    many = [f"{chr(97 + i % 26)} " * (1 + i % 7) + chr(97 + i // 100) for i in range(2500)]
    for variant in ("fp32", "int8"):
        with Encoder.open(tmp_path / "m", variant=variant) as encoder:
            cosines = (encoder.encode(many) * reference(model, many)).sum(axis=1)
        assert cosines.min() > (0.9999 if variant == "fp32" else 0.98)


def test_no_texts_and_half_a_surrogate(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.encode_with_spans([], [])[0].shape == (0, 384)
    np.testing.assert_array_equal(encoder.encode(["a \ud800 b"]), encoder.encode(["a ? b"]))


def test_spans_are_means_of_the_token_states_inside(minilm_dir: Path, cache: Path, oracle: Any) -> None:
    first = "Ünïted 🎉 nations met. They voted on the résumé of 1998, then left! "
    texts = [first, "word " * 3000, "", "One sentence."]
    spans = [[(0, 21), (22, 60), (3, 3), (22, 26)], [(0, 40), (14_000, 15_000)], [(0, 5)], []]
    with Encoder.open(minilm_dir, variant="fp32", cache=cache) as encoder:
        vectors, parts = encoder.encode_with_spans(texts, spans)
        np.testing.assert_allclose(vectors, encoder.encode(texts), atol=1e-6)
    states = oracle.encode(texts, output_value="token_embeddings", show_progress_bar=False)
    for text, wanted, found, tokens in zip(texts, spans, parts, states, strict=True):
        assert found.shape == (len(wanted), 384)
        offsets = oracle.tokenizer(text, truncation=True, max_length=256, return_offsets_mapping=True)["offset_mapping"]
        for (start, end), vector in zip(wanted, found, strict=True):
            inside = [i for i, (a, b) in enumerate(offsets) if start <= a < b <= end]
            if not inside:
                assert not vector.any()
                continue
            mean = tokens[inside].mean(dim=0).numpy()
            assert vector @ mean / np.linalg.norm(mean) > 0.9999
    assert [bool(vector.any()) for found in parts for vector in found] == [True, True, False, True, True, False, False]


def test_spans_for_another_number_of_texts_are_refused(encoder: Encoder) -> None:
    with pytest.raises(EncoderError, match="2 texts"):
        encoder.encode_with_spans(["a", "b"], [[(0, 1)]])


def test_count_is_what_the_models_own_tokenizer_counts(encoder: Encoder, oracle: Any, texts: list[str]) -> None:
    for text in texts[:20] + ODD:
        assert encoder.count(text) == len(oracle.tokenizer(text, verbose=False)["input_ids"])


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_poolings_and_settings_follow_the_directory(tmp_path: Path, pooling: str) -> None:
    model = make(tmp_path / "m", pooling, max_seq_length=20, do_lower_case=True)
    texts = ["a", "MIXED cAsE", "the quick brown fox jumps over the lazy dog", "Über"]
    with Encoder.open(tmp_path / "m", variant="fp32") as encoder:
        assert encoder.max_tokens == 20
        assert (encoder.encode(texts) * reference(model, texts)).sum(axis=1).min() > 0.9999


def test_old_pooling_flags_mean_the_same(tmp_path: Path) -> None:
    model = make(tmp_path / "m", "cls")
    flags = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "m" / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    with Encoder.open(tmp_path / "m", variant="fp32") as encoder:
        assert (encoder.encode(["some words"]) * reference(model, ["some words"])).sum() > 0.9999


def test_the_fingerprint_tells_encoders_apart(tmp_path: Path) -> None:
    make(tmp_path / "m", "cls")
    fingerprints = []
    for variant in ("int8", "int8", "fp32"):
        with Encoder.open(tmp_path / "m", variant=variant) as encoder:
            fingerprints.append(encoder.fingerprint)
    shutil.copytree(tmp_path / "m", tmp_path / "other name")
    (tmp_path / "other name" / "1_Pooling" / "config.json").write_text('{"pooling_mode": "max"}')
    for directory in (tmp_path / "m", tmp_path / "other name"):
        with Encoder.open(directory) as encoder:
            fingerprints.append(encoder.fingerprint)
    first, again, fp32, later, pooled = fingerprints
    assert first == again == later
    assert len({first, fp32, pooled}) == 3


def test_it_converts_once_and_then_needs_no_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "m")
    with monkeypatch.context() as without:
        for package in ("onnx", "safetensors"):
            without.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=r"install 'onnx>=1.17' 'safetensors>=0.5'"):
            Encoder.open(tmp_path / "m")
    with Encoder.open(tmp_path / "m") as encoder:
        before = encoder.encode(["some words"])
    for package in ("onnx", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    with Encoder.open(tmp_path / "m") as encoder:
        np.testing.assert_array_equal(encoder.encode(["some words"]), before)


@pytest.mark.parametrize("size", [0, 1000, 40_000])
def test_a_damaged_cached_file_is_made_again(tmp_path: Path, size: int) -> None:
    make(tmp_path / "m")
    with Encoder.open(tmp_path / "m", cache=tmp_path / "c") as encoder:
        before = encoder.encode(["some words"])
    (file,) = (tmp_path / "c").iterdir()
    whole = file.read_bytes()
    assert len(whole) > size
    file.write_bytes(whole[:size])
    with Encoder.open(tmp_path / "m", cache=tmp_path / "c") as encoder:
        np.testing.assert_array_equal(encoder.encode(["some words"]), before)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("name", ["onnx/model_int8.onnx", "onnx/model.onnx", "model.onnx"])
def test_a_ready_onnx_file_is_used_as_it_is(tmp_path: Path, name: str) -> None:
    """As optimum exports: with a mask and token types; here it only looks the words up."""
    directory = tmp_path / "m"
    make(directory)
    (directory / "model.safetensors").unlink()
    table = np.random.default_rng(3).standard_normal((200, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Add", ["input_ids", "token_type_ids"], ["ids"]),
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axes"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["last_hidden_state"]),
    ]
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "s"]) for n in names],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "s", 6])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([2]), "axes")],
    )
    (directory / name).parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), directory / name)
    with Encoder.open(directory) as encoder:
        assert encoder.dim == 6
        vector = encoder.encode(["ab"])[0]
    mean = table[[2, 5, 5 + 52 + 1, 3]].mean(axis=0)  # [CLS] a ##b [SEP]
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def _rewrite(path: str, text: str) -> Any:
    return lambda directory: (directory / path).write_text(text)


def _remove(path: str) -> Any:
    return lambda directory: (directory / path).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_remove("modules.json"), "modules.json"),
        (_rewrite("modules.json", "{}"), "modules.json"),
        (_rewrite("modules.json", "[1]"), "modules.json"),
        (_rewrite("modules.json", '[{"type": "x.Transformer"}, {"type": "x.Pooling"}, {"type": "x.Dense"}]'), "Dense"),
        (_rewrite("1_Pooling/config.json", '{"pooling_mode": "weightedmean"}'), "weightedmean"),
        (
            _rewrite("1_Pooling/config.json", '{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}'),
            r"cls \+ max",
        ),
        (_remove("tokenizer.json"), "tokenizer.json"),
        (_rewrite("tokenizer.json", "not json"), "tokenizer.json"),
        (_rewrite("tokenizer.json", "{}"), "tokenizer.json"),
        (_rewrite("config.json", '{"model_type": "mpnet"}'), "mpnet"),
        (_rewrite("model.safetensors", "broken"), "damaged"),
        (_remove("model.safetensors"), "model.safetensors"),
        (_rewrite("onnx/model.onnx", "broken"), "model.onnx"),
    ],
)
def test_an_unusable_directory_is_named(tmp_path: Path, spoil: Any, words: str) -> None:
    directory = tmp_path / "m"
    make(directory)
    if "onnx" in words:
        (directory / "onnx").mkdir()
        (directory / "model.safetensors").unlink()
    spoil(directory)
    with pytest.raises(EncoderError, match=words) as caught:
        Encoder.open(directory)
    assert str(directory) in str(caught.value)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="nowhere"):
        Encoder.open(tmp_path / "nowhere")


def test_a_closed_encoder_says_so(tmp_path: Path) -> None:
    make(tmp_path / "m")
    encoder = Encoder.open(tmp_path / "m")
    encoder.close()
    encoder.close()
    with pytest.raises(EncoderError, match="closed"):
        encoder.encode(["a"])
