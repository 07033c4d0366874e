"""Tokenizers in the form in which their makers publish them: engine and original cut every text alike, under any name
and folder, and the engine ends replies where the original does. What GGUF cannot express is told and lets nothing else
through.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import published
import standin
import upstream
import vocabularies
from edge.errors import ConversionError
from edge_converters import AdapterSource
from edge_converters.gguf.export import export_gguf
from edge_converters.gguf.token_rules import SPECIAL_BY_TEXT, engine_safe_name
from edge_converters.parity import check_parity, judge
from edge_converters.parity.candidate import Generated
from edge_converters.parity.candidate_gguf import GgufCandidate
from edge_converters.parity.measure import Figures, Probe
from edge_converters.parity.prompts import CONVERSATIONS
from edge_converters.parity.tokens import Original, check_template, check_tokens

PHI3, QWEN = "Phi-3-mini-4k-instruct", "Qwen2.5-0.5B-Instruct"
BLANKS = (" ", "  ", "\n", "\n\n", "\t", " \n ", "\r\n")


@pytest.fixture(scope="module")
def sources(starter_home: Path) -> Path:
    return upstream.sources(starter_home)


@pytest.fixture(scope="module")
def models(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A published model's folder, which tells nothing by its name."""
    made: dict[str, Path] = {}

    def model(name: str) -> Path:
        if name not in made:
            made[name] = published.make_published(name, sources, tmp_path_factory.mktemp("published") / "x")
        return made[name]

    return model


@dataclass(frozen=True)
class Pair:
    name: str
    original: Original
    candidate: GgufCandidate


@pytest.fixture(scope="module", params=list(published.PUBLISHED))
def pair(request: pytest.FixtureRequest, models: Callable[[str], Path]) -> Iterator[Pair]:
    folder = models(request.param)
    out = folder.with_suffix(".gguf")
    export_gguf(folder, out)
    candidate = GgufCandidate(out)
    yield Pair(request.param, Original(folder), candidate)
    candidate.close()


def same(original: Original, candidate: GgufCandidate, text: str) -> bool:
    right = original.tokens(text)
    return candidate.tokens(text) in (right, [original.bos, *right])


def test_every_text_is_cut_alike_and_no_reply_runs_on(pair: Pair, sources: Path) -> None:
    conversations = [pair.original.renderings(conversation.messages)[0] for conversation in CONVERSATIONS]
    check, notes = check_tokens(pair.original, pair.candidate, conversations)
    assert check.passed, check.meaning
    assert notes == []
    assert check_template(pair.original, pair.candidate).passed
    known = published.PUBLISHED[pair.name]
    assert all(pair.candidate.ends(token) for token in known.ends)
    vectors = vocabularies.vectors(sources / "models" / f"ggml-vocab-{known.vocabulary}.gguf")
    assert [text for text, _ in vectors if not same(pair.original, pair.candidate, text)] == []


def test_white_space_around_special_tokens_is_cut_alike(pair: Pair) -> None:
    special = [token.content for token in pair.original._tokenizer.added_tokens_decoder.values()][:40]
    texts = [text for word in special for blank in BLANKS for text in (f"{word}{blank}x", f"x{blank}{word}\u00e9")]
    texts += ["<s>old</s> new", "a</s>b", "</s>\n\n</s>", "<|endoftext|> x", "<unk>\n<pad>"]
    assert [text for text in texts if not same(pair.original, pair.candidate, text)] == []


def test_phi3_passes_the_whole_proof_with_a_lora(models: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base, out = models(PHI3), tmp_path / "phi.gguf"
    adapters = [AdapterSource(standin.make_lora(base, tmp_path / "lora"))]
    export_gguf(base, out, adapters=adapters)
    parity = check_parity(out, base=base, adapters=adapters)
    assert parity.passed, parity.table()
    assert "(32000, 32001, 32007)" in next(check.meaning for check in parity.checks if check.name == "stop token")


def test_another_tokenizer_in_a_folder_that_is_called_phi3(models: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models("Mistral-7B-Instruct-v0.2"), tmp_path / "my-Phi-3-notes")
    export_gguf(folder, tmp_path / "out.gguf")
    candidate = GgufCandidate(tmp_path / "out.gguf")
    for text in ("</s> x", "[INST] a [/INST]</s>\n\nb"):
        assert same(Original(folder), candidate, text)
    candidate.close()
    shown: str = upstream.read_gguf(tmp_path / "out.gguf")[0]["general.name"]
    assert shown.lower() == "my phi 3 notes"


def test_a_byte_level_tokenizer_in_a_folder_that_is_called_phi3_loads(tmp_path: Path) -> None:
    folder = standin.make_tiny(tmp_path / "Phi-3-mine", "llama", vocab_size=300)
    vocabularies.write_bytes(folder)
    export_gguf(folder, tmp_path / "out.gguf")
    GgufCandidate(tmp_path / "out.gguf").close()


PHI3_WORDS = {"<unk>", "<s>", "</s>", "<|endoftext|>", "<|user|>", "<|end|>"}
STRIPPING = {"</s>", "<|user|>", "<|end|>"}


@pytest.mark.parametrize(
    ("name", "stripping", "fitting"),
    [
        ("Phi 3 Mini 4k Instruct", STRIPPING, "Phi-3 Mini 4k Instruct"),
        ("phi3-mini", STRIPPING, "phi3-mini"),
        ("phi_3.5_mini", STRIPPING, "phi-3.5_mini"),
        ("x", STRIPPING, "x (Phi-3)"),
        ("Dolphin 3", STRIPPING, "Dolphin 3 (Phi-3)"),
        ("my-Phi-3-notes", set[str](), "my-Phi 3-notes"),
        ("PHI3", set[str](), "PHI 3"),
        ("Llama 3.2", set[str](), "Llama 3.2"),
        ("a modern-bert for chats", set[str](), "a modern bert for chats"),
    ],
)
def test_a_name_is_kept_as_far_as_the_engine_allows(name: str, stripping: set[str], fitting: str) -> None:
    assert engine_safe_name(name, PHI3_WORDS, stripping, PHI3_WORDS) == fitting
    # Without one of the tokens that llama.cpp looks up, the file would not load under such a name.
    assert not re.search("phi-?3", engine_safe_name(name, PHI3_WORDS, stripping, PHI3_WORDS - {"<unk>"}), re.IGNORECASE)


def test_the_texts_that_the_engine_knows_are_those_of_its_source(sources: Path) -> None:
    code = (sources / "src" / "llama-vocab.cpp").read_text(encoding="utf-8")
    assert set(re.findall(r't\.first == "([^"]+)"', code)) == SPECIAL_BY_TEXT


def test_an_ordinary_token_that_llama_cpp_takes_for_a_special_one_is_noted(
    models: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other converters leave Qwen's `</s>` as it is, and no text of a chat holds it; anything else still fails."""
    monkeypatch.setattr("edge_converters.gguf.tokenizer.hide_unreachable", lambda *_: None)
    export_gguf(models(QWEN), tmp_path / "out.gguf")
    original, candidate = Original(models(QWEN)), GgufCandidate(tmp_path / "out.gguf")
    check, notes = check_tokens(original, candidate, ["<|im_start|>user\nHi"])
    assert check.passed
    assert notes == ["the engine takes </s>, an ordinary word to the base, for a special token wherever it stands in a "
                     "text"]  # fmt: skip
    monkeypatch.setattr(original, "is_ordinary", lambda word: False)
    assert check_tokens(original, candidate, [])[0].passed is False
    candidate.close()


class FakeCandidate:
    def __init__(self, ends: set[int], *, has_free_key: bool) -> None:
        self._ends, self._has_free_key = ends, has_free_key

    def ends(self, token: int) -> bool:
        return token in self._ends

    def end_token(self) -> int:
        return 7

    def could_name_an_end(self) -> bool:
        return self._has_free_key


def stop_check(candidate: FakeCandidate, reference: int, reply: Generated) -> judge.Check:
    """One reply and one complete answer, after which the reference says `reference`."""
    count = len(reply.tokens)
    probes = [Probe("reply", "reply", (1, *reply.tokens), tuple(range(count))), Probe("end", "end", (1,), (0,))]
    best = np.array([*reply.tokens, reference])
    zeros, gaps = np.zeros(count + 1), np.ones(count + 1)
    owners = np.array([0] * count + [1])
    places = np.array([*range(count), 0])
    figures = Figures(owners, places, zeros, zeros, best, best, gaps, zeros, zeros, zeros, zeros)
    return judge.stops(probes, [reply], figures, candidate, [7, 8], judge.HALF)  # type: ignore[arg-type]


def test_an_end_that_the_format_cannot_name_fails_only_where_a_reply_needs_it() -> None:
    going = Generated((3, 4), stopped=False)
    assert stop_check(FakeCandidate({7, 8}, has_free_key=False), 7, going).passed
    uncovered = stop_check(FakeCandidate({7}, has_free_key=False), 7, going)
    assert uncovered.passed
    assert "no place for 8" in uncovered.meaning
    needed = stop_check(FakeCandidate({7}, has_free_key=False), 8, going)
    assert needed.passed is False
    assert "does not stop at token 8" in needed.meaning
    assert stop_check(FakeCandidate({7}, has_free_key=True), 7, going).passed is False
    assert stop_check(FakeCandidate({7}, has_free_key=False), 7, Generated((8, 4), stopped=False)).passed is False


@pytest.mark.parametrize("name", ["Gemma3ForCausalLM", "SmolLM3ForCausalLM"])
def test_what_is_not_supported_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = standin.make_tiny(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [name]}), encoding="utf-8")
    with pytest.raises(ConversionError, match=f"is a {name}, which edge cannot convert to GGUF itself; it can convert"):
        export_gguf(folder, tmp_path / "out.gguf")


def test_ends_take_the_places_that_are_free(tmp_path: Path) -> None:
    """Two ends that llama.cpp knows by no text are named beside the usual one; what has a place of its own keeps it."""
    folder = standin.make_tiny(tmp_path / "model", "llama", vocab_size=300, eos_token_id=[256, 200, 201])
    vocabularies.write_bytes(folder)
    export_gguf(folder, tmp_path / "out.gguf")
    candidate = GgufCandidate(tmp_path / "out.gguf")
    assert [token for token in range(300) if candidate.ends(token)] == [200, 201, 256, 257]
    assert not candidate.could_name_an_end()
    candidate.close()
