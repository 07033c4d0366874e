"""Tokenisers in our GGUF files: llama.cpp must cut its own test texts as its own vocabularies do."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest

import standin
import upstream
import vocabularies
from edge.engines.llamacpp.bindings import bindings, load_model
from edge.errors import ConversionError
from edge_converters.gguf.export import export_gguf
from edge_converters.lora.merge import end_tokens, open_weights

NO_MERGES = b'{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}'
SIZES = {"phi-3": 32064, "llama-spm": 32000, "llama-bpe": 128256, "qwen2": 151936}


@pytest.fixture(scope="module")
def sources(starter_home: Path) -> Path:
    return upstream.sources(starter_home)


def small_model(folder: Path, vocab_size: int) -> Path:
    return standin.make_tiny(folder, "llama", hidden_size=32, intermediate_size=32, vocab_size=vocab_size)


@pytest.fixture(scope="module", params=["phi-3", "llama-spm", "llama-bpe", "qwen2"])
def converted(request: pytest.FixtureRequest, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with a published tokeniser, as a folder, its GGUF file, and llama.cpp's vocabulary of that name."""
    name = request.param
    vocabulary = sources / "models" / f"ggml-vocab-{name}.gguf"
    folder = small_model(tmp_path_factory.mktemp("tokenizer") / name, SIZES[name])
    if name in ("phi-3", "llama-spm"):
        vocabularies.write_sentencepiece(vocabulary, folder)
    else:
        begin = "<|begin_of_text|>" if name == "llama-bpe" else None
        vocabularies.write_byte_level(vocabulary, folder, begin=begin)
    out = folder.with_suffix(".gguf")
    export_gguf(folder, out)
    return folder, out, vocabulary


def test_llama_cpp_tokenises_its_test_texts_as_with_its_own_vocabulary(converted: Any) -> None:
    _, ours, vocabulary = converted
    vectors = vocabularies.vectors(vocabulary)
    assert len(vectors) > 40
    with _Tokenizer(ours) as tokenizer:
        assert [tokenizer(text) for text, _ in vectors] == [tokens for _, tokens in vectors]


@pytest.mark.parametrize("converted", ["phi-3", "llama-spm"], indirect=True)
def test_with_tokenizer_json_alone_it_is_the_same_tokeniser(converted: Any, tmp_path: Path) -> None:
    folder, ours, vocabulary = converted
    alone = small_model(tmp_path / "alone", SIZES[vocabulary.stem.removeprefix("ggml-vocab-")])
    vocabularies.write_merges(folder / "tokenizer.model", alone)
    export_gguf(alone, tmp_path / "alone.gguf")
    with _Tokenizer(tmp_path / "alone.gguf") as tokenizer:
        for text, tokens in vocabularies.vectors(vocabulary):
            assert tokenizer(text) == tokens, text
    first, second = (upstream.read_gguf(path)[0] for path in (ours, tmp_path / "alone.gguf"))
    for key in ("tokens", "token_type", "bos_token_id", "add_bos_token"):
        assert first[f"tokenizer.ggml.{key}"] == second[f"tokenizer.ggml.{key}"], key


@pytest.mark.parametrize("converted", ["llama-spm"], indirect=True)
def test_what_transformers_5_saves_is_cut_as_transformers_5_cuts_it(converted: Any, tmp_path: Path) -> None:
    """It orders the merges by id, so that rows of spaces are cut otherwise than by the original. Where a text begins
    with a space it leaves out the space that llama.cpp puts in front.
    """
    from transformers import AutoTokenizer

    folder, _, vocabulary = converted
    again = small_model(tmp_path / "again", SIZES["llama-spm"])
    AutoTokenizer.from_pretrained(folder).save_pretrained(again)
    assert not (again / "tokenizer.model").exists()
    export_gguf(again, tmp_path / "again.gguf")
    theirs = AutoTokenizer.from_pretrained(again)
    with _Tokenizer(tmp_path / "again.gguf") as tokenizer:
        for text in (text for text, _ in vocabularies.vectors(vocabulary) if not text.startswith(" ")):
            assert tokenizer(text) == theirs.encode(text, add_special_tokens=False), text


def test_a_vocabulary_that_was_extended_keeps_its_pretokeniser(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "model", 300)
    vocabularies.write_bytes(folder)
    export_gguf(folder, tmp_path / "out.gguf")
    fields, _ = upstream.read_gguf(tmp_path / "out.gguf")
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    assert fields["tokenizer.ggml.tokens"][256:259] == ["th", "<|end|>", "[PAD258]"]
    assert fields["tokenizer.ggml.token_type"][256:259] == [1, 3, 5]


def test_an_unknown_pretokeniser_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "model", 300)
    vocabularies.write_bytes(folder, pre={"type": "Whitespace"})
    with pytest.raises(ConversionError, match=r"tokenizer\.json cuts text in a way .* llama-bpe, .*qwen2") as caught:
        export_gguf(folder, tmp_path / "out.gguf")
    assert "smollm" in str(caught.value)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no tokeniser"),
        ({"tokenizer.model": b"\x0a\xff\xff"}, r"tokenizer\.model is no SentencePiece model or is damaged"),
        ({"tokenizer.model": b"version https://git-lfs"}, r"tokenizer\.model is no SentencePiece model"),
        ({"tokenizer.json": b'{"model": {"type": "Unigram"}}'}, "Unigram tokeniser; only byte-pair"),
        ({"tokenizer.json": b'{"model": {"type": "BPE"}}'}, r"tokenizer\.json cannot be read"),
        ({"tokenizer.json": NO_MERGES}, r"tokenizer\.json has no merges"),
        ({"tokenizer.json": b'{"model"'}, r"tokenizer\.json is not JSON"),
    ],
)
def test_a_missing_or_damaged_tokeniser_is_named(tmp_path: Path, content: dict[str, bytes], message: str) -> None:
    folder = small_model(tmp_path / "model", 300)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    with pytest.raises(ConversionError, match=message):
        export_gguf(folder, tmp_path / "out.gguf")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_tokeniser_of_a_larger_model_is_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "model", 256)
    vocabularies.write_bytes(folder)
    with pytest.raises(ConversionError, match="has the token 257 and the model only 256"):
        export_gguf(folder, tmp_path / "out.gguf")


class _Tokenizer:
    """llama.cpp's tokeniser of a GGUF file; special tokens in a text are plain text, none are added."""

    def __init__(self, path: Path) -> None:
        self.lib = bindings()
        self.model = load_model(path, vocab_only=True)
        self.vocab = self.lib.llama_model_get_vocab(self.model)

    def __enter__(self) -> _Tokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.lib.llama_model_free(self.model)

    def __call__(self, text: str) -> list[int]:
        data = text.encode("utf-8")
        buffer = (ctypes.c_int32 * (len(data) + 8))()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), buffer, len(buffer), False, False)
        return list(buffer[:count])


@pytest.mark.parametrize(("stated", "ends"), [(-1, []), ([-1, 65], [65]), ([65, -1, 65], [65]), (None, [])])
def test_an_end_token_of_minus_one_is_none(stated: object, ends: list[int], tmp_path: Path) -> None:
    folder = vocabularies.write_bytes(small_model(tmp_path / "model", 300))
    for name in ("config.json", "generation_config.json"):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, "eos_token_id": stated}))
    assert end_tokens(open_weights(folder)) == ends
    export_gguf(folder, tmp_path / "out.gguf")
    assert upstream.read_gguf(tmp_path / "out.gguf")[0].get("tokenizer.ggml.eos_token_id") == (ends or [None])[0]
