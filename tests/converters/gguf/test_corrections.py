"""What somebody else's converter wrote is made to follow edge's own rules before anybody compares it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import standin
import upstream
import vocabularies
from edge.errors import ModelError
from edge_converters.gguf import tokenizer
from edge_converters.gguf.corrections import apply_token_rules
from edge_converters.gguf.export import export_gguf
from edge_converters.gguf.header_edit import rewrite_metadata
from edge_converters.lora.merge import open_weights
from edge_converters.parity.candidate_gguf import GgufCandidate


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level model in a folder called phi3, with an ordinary `</s>` that no text yields, and three ends."""
    folder = tmp_path_factory.mktemp("models") / "phi3"
    sizes = {"vocab_size": 300, "hidden_size": 256, "intermediate_size": 256}
    vocabularies.write_bytes(standin.make_tiny(folder, "llama", eos_token_id=257, **sizes))
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["</s>"] = 299
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode("</s>").ids != [299]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [257, 65, 66]}))
    return folder


@pytest.fixture
def checkout(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A converter with upstream's habits: the folder's name as it is, ordinary tokens as they are, and the one end that
    the tokenizer names.
    """
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "hide_unreachable", lambda *_: None)
        patch.setattr(tokenizer, "missing_ends", lambda *_: {})
        patch.setattr(tokenizer.Vocabulary, "engine_safe_name", lambda _, name: name)
        export_gguf(model, folder / "made.gguf")
    (folder / "convert_hf_to_gguf.py").write_text(
        "import os, shutil, sys; shutil.copyfile(os.path.dirname(sys.argv[0]) + '/made.gguf', sys.argv[3])"
    )
    return folder


@pytest.mark.parametrize("precision", ["f16", "q4_k_m"])
def test_a_foreign_conversion_follows_the_same_rules(
    precision: str, model: Path, checkout: Path, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    export_gguf(model, ours, precision=precision)
    export_gguf(model, theirs, precision=precision, converter=checkout)
    upstream.assert_same(ours, theirs)
    settings = upstream.read_gguf(theirs)[0]
    assert settings["general.name"] == upstream.read_gguf(ours)[0]["general.name"] == "Phi 3"
    assert [settings[f"tokenizer.ggml.{kind}_token_id"] for kind in ("eos", "eom", "eot")] == [257, 65, 66]
    assert settings["tokenizer.ggml.tokens"][299] != "</s>"
    GgufCandidate(theirs).close()
    assert not list(tmp_path.glob("*rewritten*"))


def test_without_the_rules_the_engine_does_not_load_it(
    model: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr("edge_converters.gguf.export.apply_token_rules", lambda *_: None)
    export_gguf(model, tmp_path / "out.gguf", converter=checkout)
    with pytest.raises(ModelError):
        GgufCandidate(tmp_path / "out.gguf")


def test_a_file_that_follows_them_already_is_left_as_it_is(model: Path, tmp_path: Path) -> None:
    export_gguf(model, tmp_path / "out.gguf")
    before = (tmp_path / "out.gguf").stat()
    apply_token_rules(tmp_path / "out.gguf", open_weights(model))
    assert (tmp_path / "out.gguf").stat() == before


@pytest.mark.parametrize("value", ["x", "a name that is longer than the one before by far, and then some more", ""])
def test_other_metadata_leaves_everything_else_alone(value: str, model: Path, tmp_path: Path) -> None:
    """Read back by llama.cpp's own reader; lengths on both sides of the alignment."""
    out = tmp_path / "out.gguf"
    export_gguf(model, out)
    before, tensors = upstream.read_gguf(out)
    tokens = ["ä", *before["tokenizer.ggml.tokens"][1:]]
    rewrite_metadata(out, {"general.name": value, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.eot_token_id": 7})
    after, same = upstream.read_gguf(out)
    assert same == tensors
    changed = {"general.name": value, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.eot_token_id": 7}
    assert after == {**before, **changed}
