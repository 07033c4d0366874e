"""Comparisons with a model that says what the test told it to: variants, pairing, order, keeping, stopping,
verdicts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.engines.scripted import ScriptedEngine
from edge.errors import StorageError, UsageError
from edge.evaluation.run import Comparison, Progress, Question, compare, read_comparison, sample, to_json
from edge.model import Model
from edge.types import Adapter, Message, Passage, RagOptions
from skill_answers import RIGHT

PASSAGE = "The coolant pump needs maintenance every 500 hours."


class FakeIndex:
    """Knowledge of one passage; it knows nothing of roofs."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def search(self, query: str, k: int = 5) -> list[Passage]:
        self.asked.append(query)
        return [] if "roof" in query else [Passage(PASSAGE, "/docs/pump.md", None, None, 0, len(PASSAGE), 0.9, "x")]


class Tuned(ScriptedEngine):
    """Speaks in capitals under its adapter."""

    def stream(self, prompt: str, sampling: Any, adapter: Adapter | None, prefix_boundaries: Any = ()) -> Any:
        for event in super().stream(prompt, sampling, adapter):
            if adapter is not None and hasattr(event, "text"):
                yield type(event)(event.text.upper(), event.finish)
            else:
                yield event


def reply(prompt: str) -> str:
    """Knows only what stands in the prompt."""
    return PASSAGE if PASSAGE in prompt else "It needs love."


def machine(replies: Callable[[str], str] = reply) -> Model:
    return Model(Tuned(replies), name="scripted")


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    file = tmp_path / "legal.gguf"
    file.write_bytes(b"GGUF")
    return file


def questions(n: int = 12) -> list[Question]:
    reported = [
        Question(f"How often does pump {i} need maintenance?", ("500 hours",), document="pump.md", passages=(PASSAGE,))
        for i in range(n - 2)
    ]
    return [*reported, Question("Who painted the roof?", ()), Question("What is the roof made of?", ())]


EXAMPLES = [
    Question("How often does the fan need oil?", ("every week",)),
    Question("Who painted the door?", ()),
    Question("How often does pump 3 need maintenance?", ("never",)),
]


def run(**options: Any) -> Comparison:
    return compare(options.pop("model", None) or machine(), options.pop("asked", None) or questions(), **options)


def test_every_way_is_tried_and_measured(lora: Path) -> None:
    model = machine()
    done = run(model=model, adapter=lora, knowledge=FakeIndex(), examples=EXAMPLES, skills=False)
    assert done.variants == ("base", "few-shot", "rag", "tuned", "rag+tuned", "oracle")
    assert done.complete
    assert len(done.rows) == 12 * 5 + 10  # the roof has no passage to be given
    right = {variant: done.mean(variant, "right") for variant in done.variants}
    assert right["base"] == right["tuned"] == right["few-shot"] == 0
    assert right["rag"] == right["rag+tuned"] == right["oracle"] == 1
    assert done.mean("rag", "citation") == 1
    assert done.mean("base", "citation") is None
    assert next(row.text for row in done.rows if row.variant == "rag+tuned") == PASSAGE.upper()
    assert "The documents do not tell." in [row.text for row in done.rows if row.variant == "rag"]
    assert done.between("rag", "base", "as_requested").outcome == "better"  # type: ignore[union-attr]
    assert done.between("base", "rag", "as_requested").difference == -1  # type: ignore[union-attr]
    assert done.figures["rag"]["prompt_tokens"].mean > done.figures["base"]["prompt_tokens"].mean
    assert read_back(done) == done


def read_back(done: Comparison) -> Comparison:
    file = Path(os.environ["EDGE_HOME"]).parent / "comparison.json"
    file.write_text(to_json(done), encoding="utf-8")
    return read_comparison(file)


OLD = Path(__file__).parent / "kept"
"""What edge of 2026-11-28 has written of `run(asked=questions(3), knowledge=FakeIndex())`, then called Shelf."""


def test_a_comparison_of_an_older_version_is_read() -> None:
    found = read_comparison(OLD / "comparison-1.json")
    assert (found.variants, found.mean("rag", "as_requested")) == (("base", "rag", "oracle"), 1.0)
    assert found.between("rag", "base", "as_requested") is not None
    assert (found.settings["extra_read_seconds"], found.settings["min_answerable"]) == (10.0, 0.5)
    assert read_back(found) == found


def test_answers_that_an_older_version_has_kept_are_not_asked_for_again(tmp_path: Path) -> None:
    shutil.copy(OLD / "answers-1.jsonl", keep := tmp_path / "kept.jsonl")
    model = machine()
    knowledge = type("Shelf", (FakeIndex,), {})()  # knowledge without documents goes by the name of its type
    done = run(model=model, asked=questions(3), knowledge=knowledge, keep=keep)
    assert model.engine.prompts == []  # type: ignore[attr-defined]
    assert (done.complete, done.mean("rag", "as_requested")) == (True, 1.0)


def test_ways_that_cannot_be_tried_are_named() -> None:
    done = run(asked=[Question("Why?", ("because",))])
    assert done.variants == ("base",)
    assert len(done.notes) == 5
    assert any("--adapter" in note for note in done.notes)
    assert "nothing to compare" in done.verdict[0]
    with pytest.raises(UsageError, match="rag was left out"):
        run(variants=["base", "rag"])
    with pytest.raises(UsageError, match="is no variant"):
        run(variants=["magic"])
    with pytest.raises(UsageError, match="no questions"):
        compare(machine(), [])


def test_another_way_goes_first_each_time() -> None:
    model = machine()
    seen: list[tuple[int, str]] = []
    compare(
        model,
        questions(3),
        knowledge=FakeIndex(),
        variants=["base", "rag"],
        progress=lambda now: seen.append((now.done, now.variant)),
    )
    assert [variant for _, variant in seen] == ["base", "rag", "rag", "base", "base", "rag", ""]
    assert seen[-1][0] == 6


def test_examples_are_the_nearest_and_never_the_question_itself() -> None:
    model = machine()
    compare(
        model, [Question("How often does pump 3 need maintenance?", ("x",))], examples=EXAMPLES, variants=["few-shot"]
    )
    (prompt,) = model.engine.prompts  # type: ignore[attr-defined]
    assert "never" not in prompt
    # The nearest stands next to the question.
    assert prompt.index("Who painted the door?") < prompt.index("How often does the fan") < prompt.index("pump 3")
    assert "<|assistant|>\nThe documents do not tell.\n" in prompt


def test_the_encoder_finds_the_nearest_examples() -> None:
    encoded: list[str] = []

    class ByOpening:
        def encode(self, texts: list[str], /) -> Any:
            encoded.extend(texts)
            return [[float("door" in text or "window" in text), 1.0] for text in texts]

    model = machine()
    asked = [Question("Has the window a frame?", ("x",)), Question("Has the window a pane?", ("x",))]
    compare(model, asked, examples=EXAMPLES, shots=1, encoder=ByOpening(), variants=["few-shot"])
    assert sorted(encoded) == sorted(question.question for question in (*EXAMPLES, *asked))
    assert "Who painted the door?" in model.engine.prompts[0]  # type: ignore[attr-defined]
    assert "fan" not in model.engine.prompts[0]  # type: ignore[attr-defined]


def test_examples_that_do_not_fit_are_left_out_one_by_one() -> None:
    model = Model(ScriptedEngine(["yes"], context=80))
    long = [Question("Is it so? " + "word " * 40, ("yes",)), Question("Is it?", ("yes",))]
    done = compare(model, [Question("Is it really?", ("yes",))], examples=long, variants=["few-shot"])
    assert done.mean("few-shot", "right") == 1
    assert "word" not in model.engine.prompts[0]  # type: ignore[attr-defined]


def test_a_question_that_is_too_long_counts_as_no_reply() -> None:
    model = Model(ScriptedEngine(["yes"], context=60))
    asked = [Question("Is it?", ("yes",)), Question("word " * 100, ("yes",))]
    done = compare(model, asked)
    assert done.mean("base", "right") == 0.5
    assert done.rows[1].error
    assert any("could not be asked" in note for note in done.notes)


def test_a_chat_keeps_the_words_that_came_before(lora: Path) -> None:
    model = machine()
    before = (Message("system", "Be a clerk."), Message("user", "Hello"), Message("assistant", "Good day."))
    asked = [Question("Report.", reference="It needs love.", before=before)]
    done = compare(model, asked, adapter=lora, knowledge=FakeIndex(), skills=False)
    for prompt in model.engine.prompts:  # type: ignore[attr-defined]
        assert prompt.startswith("<|system|>\nBe a clerk.\n<|user|>\nHello\n<|assistant|>\nGood day.\n<|user|>\n")
    assert done.mean("base", "rouge") == 1
    assert done.mean("base", "nll_per_token") is not None
    compare(model, asked, system="Be brief.", variants=["base"])
    assert "Be a clerk." not in model.engine.prompts[-1]  # type: ignore[attr-defined]


def test_answers_are_kept_and_asked_again_only_where_something_changed(tmp_path: Path, lora: Path) -> None:
    keep = tmp_path / "kept.jsonl"
    first = run(adapter=lora, knowledge=FakeIndex(), examples=EXAMPLES, keep=keep)
    model = machine()
    again = run(model=model, adapter=lora, knowledge=FakeIndex(), examples=EXAMPLES, keep=keep)
    assert model.engine.prompts == []  # type: ignore[attr-defined]
    assert again == first
    shuffled = run(
        model=model, asked=questions()[::-1], adapter=lora, knowledge=FakeIndex(), examples=EXAMPLES, keep=keep
    )
    assert model.engine.prompts == []  # type: ignore[attr-defined]
    assert [row.question for row in shuffled.rows[:1]] == [0]
    assert shuffled.mean("rag", "as_requested") == first.mean("rag", "as_requested")

    run(model=model, knowledge=FakeIndex(), examples=EXAMPLES[:1], variants=["base", "few-shot"], keep=keep)
    assert len(model.engine.prompts) == 12  # type: ignore[attr-defined]
    lora.write_bytes(b"GGUF, trained again")
    model = machine()
    run(model=model, adapter=lora, variants=["base", "tuned"], skills=False, keep=keep)
    assert len(model.engine.prompts) == 12  # type: ignore[attr-defined]
    model = machine()
    run(model=model, rag=RagOptions(min_answerable=0.1), knowledge=FakeIndex(), variants=["base", "rag"], keep=keep)
    assert len(model.engine.prompts) == 10  # type: ignore[attr-defined]
    run(model=model, system="Otherwise.", variants=["base"], keep=keep)
    assert len(model.engine.prompts) == 22  # type: ignore[attr-defined]


def test_a_torn_line_costs_one_answer(tmp_path: Path) -> None:
    keep = tmp_path / "kept.jsonl"
    run(variants=["base"], keep=keep)
    keep.write_bytes(keep.read_bytes()[:-40])
    model = machine()
    run(model=model, variants=["base"], keep=keep)
    assert len(model.engine.prompts) == 1  # type: ignore[attr-defined]
    model = machine()
    done = run(model=model, variants=["base"], keep=keep)
    assert model.engine.prompts == []  # type: ignore[attr-defined]
    assert done.complete


def test_where_answers_cannot_be_kept_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="--keep"):
        run(variants=["base"], keep=tmp_path / "folder")


KILLED = """
import sys
from pathlib import Path
from edge.evaluation.run import Question, compare
from edge.engines.scripted import ScriptedEngine
from edge.model import Model
asked = [Question(f"Question {i}?", ("yes",)) for i in range(200)]
model = Model(ScriptedEngine(["yes it is"], delay=0.02), name="slow")
compare(model, asked, keep=Path(sys.argv[1]))
"""


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    keep = tmp_path / "kept.jsonl"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(keep)])
    while not (keep.exists() and keep.read_bytes().count(b"\n") >= 3):
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = keep.read_bytes().count(b"\n")
    assert 3 <= kept < 200
    model = Model(ScriptedEngine(["yes it is"]), name="slow")
    asked = [Question(f"Question {i}?", ("yes",)) for i in range(200)]
    seen: list[Progress] = []
    done = compare(model, asked, keep=keep, progress=seen.append)
    assert done.complete
    assert len(model.engine.prompts) == 200 - kept  # type: ignore[attr-defined]
    assert seen[-1].kept == kept
    assert done.mean("base", "right") == 1


def test_ctrl_c_leaves_what_there_is(tmp_path: Path) -> None:
    said = 0

    def interrupted(prompt: str) -> str:
        nonlocal said
        said += 1
        if said == 8:
            raise KeyboardInterrupt
        return reply(prompt)

    keep = tmp_path / "kept.jsonl"
    done = run(model=machine(interrupted), knowledge=FakeIndex(), variants=["base", "rag"], keep=keep)
    assert not done.complete
    assert len(done.rows) == 7
    assert "interrupted" in " ".join(done.verdict)
    assert read_back(done) == done
    assert run(knowledge=FakeIndex(), variants=["base", "rag"], keep=keep).complete


def test_a_question_that_stands_there_twice_is_asked_once() -> None:
    model = machine()
    seen: list[Progress] = []
    done = run(model=model, asked=[Question("Why?", ("love",))] * 3, progress=seen.append)
    assert len(model.engine.prompts) == 1  # type: ignore[attr-defined]
    assert len(done.rows) == 3
    assert not seen[-1].seconds_left


def test_time_left_is_known_when_every_way_has_answered() -> None:
    seen: list[Progress] = []
    compare(
        Model(ScriptedEngine(["yes"], delay=0.001)), questions(6), knowledge=FakeIndex(), variants=["base", "rag"],
        progress=seen.append,
    )  # fmt: skip
    assert [now.seconds_left is None for now in seen[:3]] == [True, True, False]
    assert all(now.seconds_left for now in seen[2:-1])
    assert not seen[-1].seconds_left


def test_a_tuned_model_that_forgot_everything_shows(lora: Path) -> None:
    """The base knows all; under the adapter nothing but its form is said."""

    class Forgot(ScriptedEngine):
        def stream(self, prompt: str, sampling: Any, adapter: Adapter | None, prefix_boundaries: Any = ()) -> Any:
            self._reply = (lambda _: "STATUS: ok") if adapter else knows
            yield from super().stream(prompt, sampling, adapter)

    def knows(prompt: str) -> str:
        return next((answer for question, answer in RIGHT.items() if question in prompt), "Well.")

    asked = [Question(f"Report {i}.", form="STATUS: ok") for i in range(20)]
    done = compare(Model(Forgot()), asked, adapter=lora)
    counts = {
        variant: sum(skill.right for skill in done.skills if skill.variant == variant) for variant in ("base", "tuned")
    }
    assert counts == {"base": 40, "tuned": 0}
    assert any("has forgotten things: 0 of 40" in sentence for sentence in done.verdict)
    assert done.verdict[0].startswith("The tuned model does best: 20 of 20 as asked, clearly before the base (0 of 20)")


def test_verdicts_say_when_there_are_not_enough_questions() -> None:
    few = run(asked=questions(4), knowledge=FakeIndex(), variants=["base", "rag"])
    assert few.verdict[0].startswith("Not enough questions to tell")
    assert "fewer than 10 prove nothing" in few.verdict[0]
    assert "about 16 more would be needed" in few.verdict[0]
    enough = run(knowledge=FakeIndex(), variants=["base", "rag"])
    assert enough.verdict[0].startswith(
        "The base with your documents (rag) does best: 12 of 12 as asked, clearly before the base (0 of 12): +1.00"
    )
    assert any(
        "says 2 times that the documents do not tell, rightly in 100 % of them" in sentence
        for sentence in enough.verdict
    )
    loved = [Question(f"Pump {i}?", ("love",)) for i in range(12)]
    same = run(asked=loved, knowledge=FakeIndex(), variants=["base", "few-shot"], examples=EXAMPLES)
    assert "are equally good, within 0.05" in same.verdict[0]


def test_a_sample_is_the_same_each_time_and_in_order() -> None:
    asked = questions(12)
    drawn = sample(asked, 5)
    assert drawn == sample(asked, 5)
    assert [asked.index(question) for question in drawn] == sorted(asked.index(question) for question in drawn)
    assert sample(asked, 50) == asked


def test_another_file_is_no_comparison(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    for text in ("{", "[]", '{"version": 99}', json.dumps({"version": 1})):
        file.write_text(text)
        with pytest.raises(UsageError, match="no comparison"):
            read_comparison(file)
    with pytest.raises(StorageError, match="edge compare"):
        read_comparison(tmp_path / "gone.json")


def test_what_is_thought_is_not_judged_as_the_reply() -> None:
    questions = [Question("Who painted it?", answers=("Ada",))]
    thinks = Model(ScriptedEngine(["<think>\nWas it Bob, or Carl, or Dora?\n</think>\n\nAda"]))
    silent = Model(ScriptedEngine(["Ada"]))
    rows = [
        compare(model, questions, variants=["base"], skills=False, think=True).rows[0] for model in (thinks, silent)
    ]
    assert [row.text for row in rows] == ["Ada", "Ada"]
    assert rows[0].figures["f1"] == rows[1].figures["f1"] == 1.0
