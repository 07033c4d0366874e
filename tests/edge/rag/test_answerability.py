"""What a model's Yes and No are worth, and what a chat makes of them. Oracles: scikit-learn, an unjudged chat."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import edge
from edge import Chat, Delta, Model, Passage, RagOptions, Sampling
from edge.chat import UNANSWERABLE
from edge.engines.scripted import ScriptedEngine
from edge.errors import UsageError
from edge.rag.answerability import (
    ASKED,
    SHARE,
    Calibration,
    auroc,
    calibrate,
    calibration_of,
    fit,
    own_cases,
    save,
)
from edge.types import Adapter

TEXT = "Rollo was the leader of the Normans. He swore fealty to King Charles III in 911."
PASSAGE = Passage(TEXT, "/docs/1.md", None, None, 0, len(TEXT), 0.9, "00")
GOOD = Calibration(slope=1.0, offset=0.0, auroc=0.9, cases=64)


class FakeIndex:
    """A retriever that always finds the same passage and, if told to, judges it."""

    def __init__(self, likely: float = 1.0) -> None:
        self.likely = likely

    def search(self, query: str, k: int = 5) -> list[Passage]:
        return [PASSAGE]

    def answerable(self, query: str, passages: Sequence[Passage]) -> float:
        return self.likely


class Reader(ScriptedEngine):
    """Says Yes to whoever asks about Rollo, and notes what it was asked."""

    def __init__(self, sure: float = 3.0) -> None:
        super().__init__(lambda _: "Rollo led the Normans.")
        self.sure = sure
        self.judged: list[tuple[str, Adapter | None]] = []

    def score(self, prompt: str, continuations: Sequence[str], adapter: Adapter | None) -> list[float]:
        assert tuple(continuations) == ("Yes", "No")
        self.judged.append((prompt, adapter))
        question = prompt.rpartition("Question: ")[2]
        return [-1.0, -1.0 - (self.sure if "Rollo" in question else -self.sure)]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def model(reader: Reader, weights: Path) -> Model:
    return Model(reader, path=weights)


def test_the_fit_is_a_weighted_logistic_regression() -> None:
    random.seed(4)
    rows = [(random.gauss(2.0, 1.0), True) for _ in range(300)] + [(random.gauss(0.5, 1.5), False) for _ in range(100)]
    slope, offset = fit(rows)
    oracle = LogisticRegression(C=1e6, class_weight={1: SHARE / 300, 0: (1 - SHARE) / 100}, tol=1e-10)
    oracle.fit([[score] for score, _ in rows], [label for _, label in rows])
    for score in (-2.0, 0.0, 1.0, 3.0):
        expected = oracle.predict_proba([[score]])[0][1]
        assert Calibration(slope, offset, 1.0, 400).probability(score) == pytest.approx(expected, abs=0.04)
    assert auroc(rows) == pytest.approx(roc_auc_score([label for _, label in rows], [score for score, _ in rows]))


def test_questions_distinguished_without_a_mistake_give_no_steep_step() -> None:
    slope, offset = fit([(1.0, True)] * 10 + [(-1.0, False)] * 10)
    found = Calibration(slope, offset, 1.0, 20)
    assert 0.5 < found.probability(0.3) < found.probability(1.0) < 0.999


def test_a_model_is_asked_about_both_kinds_of_question(model: Model, reader: Reader) -> None:
    done: list[int] = []
    found = calibrate(model, progress=done.append)
    cases = own_cases()
    assert done == list(range(1, len(cases) + 1))
    assert sum(case.answerable for case in cases) == len(cases) / 2 == 32
    for (prompt, _), case in zip(reader.judged, cases, strict=True):
        assert f"[1] {case.passages[0].text}\n\n" in prompt
        assert prompt.endswith(f"Question: {case.question}{ASKED}\n<|assistant|>\n")
    # None of them is about Rollo: whatever it says, it says of all.
    assert (found.auroc, found.believed) == (0.5, False)


def test_too_few_questions_are_no_calibration(model: Model) -> None:
    with pytest.raises(UsageError, match="four of each"):
        calibrate(model, [case for case in own_cases() if case.answerable])


def test_what_the_model_finds_untold_is_not_answered(model: Model, reader: Reader) -> None:
    save(GOOD, model)
    chat = Chat(model, knowledge=FakeIndex())
    deltas = list(chat.stream("Who was the leader of the Danes?"))
    answer = deltas[-1].answer
    assert answer is not None
    assert (answer.text, answer.passages, answer.citations) == (UNANSWERABLE, (), ())
    assert answer.answerable == pytest.approx(1 / (1 + math.exp(3)))
    assert [delta.text for delta in deltas if delta.text] == [UNANSWERABLE], "not a word of the model's is shown"
    assert answer.evidence, "what comes nearest is still shown"
    assert answer.usage.prompt_tokens > 20, "reading was not for nothing"
    assert TEXT not in chat.history[0].content, "what did not help is not kept"
    reported = chat.ask("Who was Rollo?")
    assert (reported.text, reported.passages) == ("Rollo led the Normans.", (PASSAGE,))
    assert reported.answerable == pytest.approx(1 / (1 + math.exp(-3)))


def test_the_more_doubtful_of_both_judges_is_believed(model: Model, reader: Reader) -> None:
    save(GOOD, model)
    knowledge = FakeIndex(likely=0.7)
    assert Chat(model, knowledge=knowledge).ask("Who was Rollo?").answerable == 0.7
    assert (
        Chat(model, knowledge=knowledge, rag=RagOptions(min_answerable=0.8)).ask("Who was Rollo?").text == UNANSWERABLE
    )
    asked = len(reader.judged)
    knowledge.likely = 0.4
    assert Chat(model, knowledge=knowledge).ask("Who was Rollo?").answerable == 0.4
    assert len(reader.judged) == asked, "what search refuses is not read at all"


@pytest.mark.parametrize("calibration", [None, replace(GOOD, auroc=0.6), replace(GOOD, slope=-1.0)])
def test_a_model_that_is_not_known_to_judge_well_is_not_asked(
    calibration: Calibration | None, model: Model, reader: Reader
) -> None:
    if calibration is not None:
        save(calibration, model)
    assert Chat(model, knowledge=FakeIndex()).ask("Who was the leader of the Danes?").text == "Rollo led the Normans."
    assert reader.judged == []


def test_a_probability_of_nought_answers_everything(model: Model, reader: Reader) -> None:
    save(GOOD, model)
    assert (
        Chat(model, knowledge=FakeIndex(), rag=RagOptions(min_answerable=0))
        .ask("Who was the leader of the Danes?")
        .text
        == "Rollo led the Normans."
    )
    assert reader.judged == []


def test_without_documents_nothing_is_judged(model: Model, reader: Reader) -> None:
    save(GOOD, model)
    assert Chat(model).ask("Who was the leader of the Danes?").answerable is None
    assert reader.judged == []


def test_other_weights_and_adapters_need_a_calibration_of_their_own(
    model: Model, weights: Path, tmp_path: Path
) -> None:
    file = save(GOOD, model)
    assert calibration_of(model) == GOOD
    lora = tmp_path / "lora.gguf"
    lora.write_bytes(b"lora")
    model._adapters["legal"] = Adapter("legal", str(lora), 1.0)
    assert calibration_of(model, adapter="legal") is None
    save(replace(GOOD, slope=2.0), model, adapter="legal")
    assert (calibration_of(model), calibration_of(model, adapter="legal")) == (GOOD, replace(GOOD, slope=2.0))
    for damage in ("", "{", '{"slope": 1}', "[]"):
        file.write_text(damage)
        assert calibration_of(model) is None, "a damaged one is none"
    save(GOOD, model)
    weights.write_bytes(b"other weights")
    assert calibration_of(model) is None
    weights.unlink()
    assert calibration_of(model) is None, "a loaded model goes on without its file"
    with pytest.raises(UsageError, match="lies in a file"):
        save(GOOD, Model(ScriptedEngine()))


def test_a_judged_answer_is_the_unjudged_one(smollm_path: Path) -> None:
    """Greedy words of a real model, in a chat of two turns, and what was computed for them."""
    sampling = Sampling(max_tokens=24)
    questions = ("Who led the Normans?", "To whom did he swear fealty?")

    def talk(judge: bool) -> list[tuple[edge.Answer, list[Delta]]]:
        with edge.load(smollm_path, context=1024, kv_budget=0) as model:  # what one talk has read is not the other's
            if judge:
                save(Calibration(slope=0.1, offset=5.0, auroc=0.9, cases=64), model)
            chat = Chat(model, knowledge=FakeIndex())
            said = []
            for question in questions:
                deltas = list(chat.stream(question, sampling=sampling))
                assert deltas[-1].answer is not None
                said.append((deltas[-1].answer, deltas))
            return said

    for (plain, _), (judged, deltas) in zip(talk(judge=False), talk(judge=True), strict=True):
        assert judged.text == plain.text
        assert (plain.answerable, judged.answerable is not None and judged.answerable > 0.9) == (1.0, True)
        assert judged.usage.prompt_tokens == plain.usage.prompt_tokens
        assert judged.usage.cached_tokens == plain.usage.cached_tokens, "the prompt is read once"
        read = [delta.prefill for delta in deltas if delta.prefill]
        assert read[-1].done == read[-1].total == plain.usage.prompt_tokens
        assert [prefill.done for prefill in read] == sorted({prefill.done for prefill in read}), "and shown once"
