"""A cross-encoder of random weights, exported here: its scores must be transformers' own."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import EncoderError
from edge_index.encoders.reranker import Reranker
from edge_index.retrieval.ranking import Candidate, Question, rank_passages

WORDS = "the pump seal is made of rubber and red who what moon raises tides a long word here".split()
TEXTS = ["the seal is red", "moon", "the pump is made of rubber and the seal is red " * 3, "red", "the moon"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """Folder, model and tokenizer of a BERT of two layers, 16 wide."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("cross")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        num_labels=1,
        initializer_range=0.5,
        attn_implementation="eager",
    )
    model = BertForSequenceClassification(config).eval()
    (folder / "config.json").write_text(config.to_json_string())
    names = ["input_ids", "attention_mask", "token_type_ids"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about constants
        torch.onnx.export(
            model,
            tuple(torch.ones((2, 8), dtype=torch.int64) for _ in names),
            str(folder / "model.onnx"),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**{name: {0: "batch", 1: "length"} for name in names}, "logits": {0: "batch"}},
            dynamo=False,
        )
    loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast = PreTrainedTokenizerFast(tokenizer_object=loaded, pad_token="[PAD]")
    return folder, model, fast


def test_scores_are_those_of_transformers(made: tuple[Path, Any, Any]) -> None:
    import torch

    folder, model, tokenizer = made
    query = "what is the pump made of"
    tensors = {"return_tensors": "pt", "return_token_type_ids": True}
    expected = []
    for text in TEXTS:  # one by one: no padding, so that padding is tested too
        pair = tokenizer(query, text, truncation="only_second", max_length=24, **tensors)
        with torch.no_grad():
            expected.append(float(model(**pair).logits))
    assert np.ptp(expected) > 0.1, "the model tells nothing apart"
    with Reranker.open(folder) as reranker:
        scores = reranker.scores(query, TEXTS)
        assert reranker.scores(query, []).shape == (0,)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, abs=1e-4)


def test_the_order_follows_the_reranker(made: tuple[Path, Any, Any]) -> None:
    class Backwards:
        def scores(self, query: str, texts: list[str], /) -> np.ndarray:
            assert query == "seal?"
            return np.arange(len(texts), dtype=np.float32) * 10

    east = np.array([1, 0], np.float32)
    found = [
        Candidate(i, f"The seal number {i} is red", east, np.array([[0, 24]], np.int32), np.array([[c, 0]], np.float16))
        for i, c in enumerate([0.9, 0.895, 0.5], 1)
    ]
    question = Question(east, ["seal"], {"seal": 1}, 9, "seal?")
    plain = rank_passages(question, found, 5)
    again = rank_passages(question, found, 5, reranker=Backwards())
    assert [c.id for c, _ in plain] == [1, 2, 3]
    assert next(c.id for c, _ in again) == 2, "nearly the best by our own score, better by the reranker"
    assert [score for _, score in again] == [score for _, score in plain]


def test_a_folder_that_is_no_reranker(tmp_path: Path, made: tuple[Path, Any, Any]) -> None:
    with pytest.raises(EncoderError, match=r"model\.onnx"):
        Reranker.open(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "tokenizer.json").write_text(json.dumps({}))
    with pytest.raises(EncoderError, match="export it again"):
        Reranker.open(tmp_path)


def test_a_query_that_alone_is_too_long(made: tuple[Path, Any, Any]) -> None:
    with Reranker.open(made[0]) as reranker, pytest.raises(EncoderError, match="does not fit"):
        reranker.scores("pump " * 40, ["the seal"])
