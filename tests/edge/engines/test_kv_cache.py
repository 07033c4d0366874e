"""Kept KV caches: found by their tokens, believed only when whole, and the same bits as computing gives."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import edge
from edge.chat import Chat
from edge.engines.llamacpp.kv_cache_files import KVCacheFiles
from edge.model import Model
from edge.types import Evidence, Message, Passage, Sampling
from edge_index import Index

BUDGET = 10_000_000
MANUAL = """# Pump P-7

{}

## Maintenance

Close both valves before any work. The shaft seal of the pump is replaced every 4,000 hours of operation, by two people
who have read this page. Use only seals of type S-12. The bearings need grease twice a year, in spring and in autumn,
and never oil. Before the pump is started again the circuit is vented at the highest point of the house.

## Electrical data

The motor takes 45 W at 230 V. The fuse must not exceed 10 A. In a power cut the pump stands still and starts by itself
when the power is back; the boiler has to be shut off by hand. The cable is of type H05 and at most eight metres long.
"""
QUESTIONS = (
    "How often is the shaft seal replaced?",
    "Which seals are to be used?",
    "When do the bearings need grease?",
    "How much power does the motor take?",
    "What must the fuse not exceed?",
    "What happens in a power cut?",
)


@pytest.fixture
def states(tmp_path: Path) -> KVCacheFiles:
    return KVCacheFiles(tmp_path, b"weights", BUDGET)


def again(tmp_path: Path, identity: bytes = b"weights", budget: int = BUDGET) -> KVCacheFiles:
    """As another process sees the folder."""
    return KVCacheFiles(tmp_path, identity, budget)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.kv"))


def test_what_another_process_is_writing_is_not_thrown_away_for_room(tmp_path: Path) -> None:
    budget = 5_000
    one, two = again(tmp_path, budget=budget), again(tmp_path, b"other", budget)
    assert one.put([1, 2], b"x" * 3_000)
    writing = files(tmp_path)[0].with_name(".half.part")
    writing.write_bytes(b"y" * 3_000)
    abandoned = writing.with_name(".older.part")
    abandoned.write_bytes(b"y" * 3_000)
    os.utime(abandoned, (0, 0))
    (tmp_path / "no folder").write_text("")
    assert two.put([3, 4], b"z" * 3_000)
    assert writing.exists()
    assert not abandoned.exists()
    assert len(files(tmp_path)) == 1


def test_the_longest_beginning_is_found_by_anyone(tmp_path: Path, states: KVCacheFiles) -> None:
    tokens = list(range(100))
    states.put(tokens[:20], b"twenty")
    states.put(tokens[:50], b"fifty")
    states.put([*tokens[:50], 7], b"another way on")
    for seen in (states, again(tmp_path)):
        assert seen.longest(tokens, 1) == (50, b"fifty")
        assert seen.longest(tokens[:49], 1) == (20, b"twenty")
        assert seen.longest(tokens, 51) is None
        assert seen.longest(tokens[1:], 1) is None
        assert tokens[:20] in seen
        assert tokens[:21] not in seen
    states.put(tokens[:70], b"seventy")
    assert seen.longest(tokens, 1) == (70, b"seventy"), "what came later is noticed"


@pytest.mark.parametrize("identity", [b"other weights", b"weights of another adapter", b""])
def test_nobody_else_gets_it(tmp_path: Path, states: KVCacheFiles, identity: bytes) -> None:
    states.put([1, 2, 3], b"state")
    assert again(tmp_path, identity).longest([1, 2, 3], 1) is None
    theirs = again(tmp_path, identity)
    theirs.put([1, 2, 3], b"theirs")
    (mine,) = [file for file in files(tmp_path) if b"theirs" not in file.read_bytes()]
    (other,) = [file for file in files(tmp_path) if file != mine]
    other.write_bytes(mine.read_bytes())  # even a copy in the right place
    assert again(tmp_path, identity).longest([1, 2, 3], 1) is None


def test_no_damaged_file_is_believed(tmp_path: Path, states: KVCacheFiles) -> None:
    """Every byte of a small one flipped, every length cut, and what random damage does to a larger one."""
    small, large = list(range(8)), list(range(500))
    states.put(small, bytes(range(40)))
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    chance = random.Random(5)
    damaged = [
        whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :] for at in range(len(whole))
    ]
    damaged += [whole[:at] for at in range(len(whole))] + [whole + b"\0", whole + whole, b"", bytes(len(whole))]
    states.put(large, chance.randbytes(20_000))
    (other,) = [found for found in files(tmp_path) if found != file]
    long = other.read_bytes()
    for _ in range(1000):
        cut = bytearray(long)
        at = chance.randrange(len(cut))
        cut[at : at + chance.choice((1, 1, 8, 512))] = chance.randbytes(chance.choice((1, 8, 512)))
        if bytes(cut) != long:
            other.write_bytes(cut)
            assert again(tmp_path).longest(large, 100) is None
            assert not other.exists(), "it is thrown away"
    for content in damaged:
        file.write_bytes(content)
        assert again(tmp_path).longest(small, 1) is None
    file.write_bytes(whole)
    assert again(tmp_path).longest(small, 1) == (8, bytes(range(40)))


def test_the_budget_holds_and_what_was_not_used_goes_first(tmp_path: Path) -> None:
    states = KVCacheFiles(tmp_path, b"weights", 10_000)
    for number in range(4):
        states.put([number], bytes(3000))
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 10_000
    fresh = again(tmp_path, budget=10_000)
    assert fresh.longest([0], 1) is None
    assert fresh.longest([1], 1) is not None  # which is of use now
    fresh.put([5], bytes(3000))
    assert [1] in again(tmp_path)
    assert [2] not in again(tmp_path)
    assert not KVCacheFiles(tmp_path, b"weights", 0).put([9], b"x")
    assert not fresh.put([10], bytes(20_000))
    assert [1] in again(tmp_path), "one that cannot fit drives nobody out"


def test_a_disk_that_cannot_be_written_costs_a_word(tmp_path: Path) -> None:
    blocked = tmp_path / "kv"
    blocked.write_text("not a folder")
    states = KVCacheFiles(blocked, b"weights", BUDGET)
    assert not states.put([1, 2], b"state")
    assert states.error
    assert states.longest([1, 2, 3], 1) == (2, b"state"), "this process still has it"


def test_a_kill_while_writing_leaves_nothing_that_counts(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from edge.engines.llamacpp.kv_cache_files import KVCacheFiles
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
KVCacheFiles(Path({str(tmp_path)!r}), b"weights", {BUDGET}).put([1, 2], bytes(100_000))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert again(tmp_path).longest([1, 2], 1) is None
    assert again(tmp_path).put([1, 2], b"state")


class FakeIndex:
    """Finds the passage that a question is about, by its number."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def search(self, query: str, k: int = 5) -> list[Passage]:
        text = self.texts[0 if "motor" not in query and "fuse" not in query and "cut" not in query else 1]
        return [Passage(text, "/docs/pump.md", None, "Pump", 0, len(text), 0.9, "x")]

    def evidence(self, query: str, passages: list[Passage]) -> list[Evidence]:
        sentence = passages[0].text.split(". ")[1]
        return [Evidence(sentence, "/docs/pump.md", None, None, 0, len(sentence), 0.9)]


KNOWLEDGE = FakeIndex(*(part.strip() for part in MANUAL.split("\n## ")[1:]))
SAMPLING = Sampling(max_tokens=24)


def loaded(path: Path, **options: object) -> Model:
    return edge.load(path, context=1024, threads=2, **options)  # type: ignore[arg-type]


def answers(model: Model, adapter: str | None = None) -> Iterator[tuple[str, int]]:
    """Each question as the first one of a chat: the text, and the tokens that a kept state gave."""
    for question in QUESTIONS:
        answer = Chat(model, knowledge=KNOWLEDGE, adapter=adapter).ask(question, sampling=SAMPLING)
        yield answer.text, answer.usage.restored_tokens


def fresh(path: Path, adapter: Path | None = None) -> list[str]:
    """What the same prompts say when every one is computed by a model that has read nothing before."""
    said = []
    for question in QUESTIONS:
        with loaded(path, kv_budget=0) as model:
            name = model.add_adapter(adapter).name if adapter is not None else None
            answer = Chat(model, knowledge=KNOWLEDGE, adapter=name).ask(question, sampling=SAMPLING)
            said.append(answer.text)
    return said


def test_a_warm_passage_is_read_and_says_the_same(edge_home: Path, smollm_path: Path) -> None:
    with loaded(smollm_path) as model:
        chat = Chat(model, knowledge=KNOWLEDGE)
        passages = [KNOWLEDGE.search(question)[0] for question in (QUESTIONS[0], QUESTIONS[3])]
        sizes = [chat.prefill_cache(passage) for passage in passages]
        assert all(sizes)
        assert [chat.prefill_cache(passage) for passage in passages] == [0, 0]
    with loaded(smollm_path) as model:  # another process' worth of it
        found = list(answers(model))
    assert [text for text, _ in found] == fresh(smollm_path)
    assert all(restored > 60 for _, restored in found[::3]), "the first about each passage"


def test_the_second_question_about_a_passage_finds_what_the_first_one_left(edge_home: Path, smollm_path: Path) -> None:
    with loaded(smollm_path) as model:
        assert not any(restored for _, restored in answers(model))
    with loaded(smollm_path) as model:
        assert sum(bool(restored) for _, restored in answers(model)) >= 2
    with loaded(smollm_path, kv_type="q8_0") as model:
        assert not any(restored for _, restored in answers(model)), "other numbers"
    for file in files(edge_home):
        file.write_bytes(file.read_bytes()[:-1])
    with loaded(smollm_path) as model:
        found = list(answers(model))
    assert not any(restored for _, restored in found)
    assert [text for text, _ in found] == fresh(smollm_path)


def test_no_state_crosses_adapters(edge_home: Path, stand_in_exports: Path) -> None:
    base, lora = stand_in_exports / "f16.gguf", stand_in_exports / "lora.gguf"
    with loaded(base) as model:
        tuned = model.add_adapter(lora).name
        under = list(answers(model, tuned))
        plain = list(answers(model))
        assert not any(restored for _, restored in plain[:1])
        back = list(answers(model, tuned))
    assert [text for text, _ in under] == [text for text, _ in back] == fresh(base, lora)
    assert [text for text, _ in plain] == fresh(base)
    assert any(restored for _, restored in back), "its own are found again"


def test_a_conversation_goes_on_after_a_restart_without_reading_it_again(edge_home: Path, smollm_path: Path) -> None:
    story = [Message("user", "Tell me of the pump. " + KNOWLEDGE.texts[0] + KNOWLEDGE.texts[1])]
    with loaded(smollm_path) as model:
        reply = model.generate(story, sampling=Sampling(max_tokens=40))
        assert model.save_kv_cache()
        more = [*story, Message("assistant", reply.text), Message("user", "And then?")]
        live = model.generate(more, sampling=SAMPLING)
    with loaded(smollm_path) as model:
        later = model.generate(more, sampling=SAMPLING)
    assert later.text == live.text
    assert later.usage.restored_tokens == live.usage.cached_tokens > 200


def test_a_conversation_with_a_model_that_can_think_goes_on_after_a_restart_too(
    edge_home: Path, smollm_path: Path
) -> None:
    """Its template marks the place of thoughts in the last turn only: the next prompt begins as none before did."""
    source = (Path(__file__).parents[1] / "templates" / "thinking" / "qwen3.jinja").read_text(encoding="utf-8")

    def thinker() -> Model:
        model = loaded(smollm_path)
        vocabulary = model.engine._vocabulary  # type: ignore[attr-defined]
        vocabulary.__dict__["template"] = replace(vocabulary.template, source=source)
        return model

    with thinker() as model:
        chat = Chat(model, system="Be brief.")
        chat.ask("Tell me of the pump. " + KNOWLEDGE.texts[0] + KNOWLEDGE.texts[1], sampling=Sampling(max_tokens=20))
        assert chat.save_kv_cache()
        history = list(chat.history)
    with thinker() as model:
        chat = Chat(model, system="Be brief.")
        chat.restore(history)
        later = chat.ask("And then?", sampling=SAMPLING)
        assert later.usage.restored_tokens > 150


def test_an_index_is_warmed(edge_home: Path, smollm_path: Path, minilm_dir: Path, tmp_path: Path) -> None:
    """Through the index's own passages: what `edge index warm` computes is what a question reads."""
    (tmp_path / "pump.md").write_text(MANUAL.format("A pump for closed circuits."))
    from edge_index.encoders.encoder import Encoder

    encoder = Encoder.open(minilm_dir, cache=edge_home / "encoders")
    with loaded(smollm_path) as model, Index.open(tmp_path / "index", encoder=encoder) as index:
        index.add([tmp_path / "pump.md"])
        chat = Chat(model, knowledge=index)
        for document in index.documents():
            for passage in index.passages(document.path):
                assert chat.prefill_cache(passage)
        for question in QUESTIONS[:3]:
            found = Chat(model, knowledge=index).ask(question, sampling=SAMPLING)
            assert found.usage.cached_tokens > 60


@pytest.mark.parametrize("engine", ["f16.gguf", "onnx-fp32"])
def test_both_engines_know_roughly_how_large_a_model_is(stand_in_exports: Path, engine: str) -> None:
    """Prompts depend on it: a small model is pointed at the best sentence."""
    with edge.load(stand_in_exports / engine, context=64) as model:
        assert model.parameters is not None
        assert 0.8 < model.parameters / 134_515_008 < 1.3
