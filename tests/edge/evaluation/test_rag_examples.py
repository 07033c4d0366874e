"""Examples with their passages: what a model learns from is, word for word, what `Chat` sends it later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.chat import UNANSWERABLE, Chat
from edge.engines.scripted import ScriptedEngine
from edge.errors import UsageError
from edge.evaluation.rag_examples import ground
from edge.evaluation.run import Question
from edge.model import Model
from edge.types import Message, Passage, RagOptions

MANUAL = "The pump is oiled every 500 hours. The fan is oiled every week. Nobody oils the door."
PUMP, FAN = (0, 34), (35, 64)


class FakeIndex:
    """One document, cut into sentences; every question finds the one about the pump first."""

    def search(self, query: str, k: int = 5) -> list[Passage]:
        return [self._passage(*PUMP), self._passage(64, len(MANUAL))][:k]

    def find_document(self, name: str) -> str:
        return f"/docs/{name}"

    def text(self, document: str) -> str:
        return MANUAL

    def _passage(self, start: int, end: int) -> Passage:
        return Passage(MANUAL[start:end], "/docs/manual.md", None, "Oil", start, end, 0.9, "x")


def sent(question: str, parameters: int | None = None, **options: object) -> tuple[Message, ...]:
    """What a chat sends its model."""
    engine = ScriptedEngine(["yes"])
    engine.parameters = parameters
    chat = Chat(Model(engine), knowledge=FakeIndex(), **options)  # type: ignore[arg-type]
    chat.ask(question)
    return chat.prompt


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rag": RagOptions(prompt_passages=2)},
        {"rag": RagOptions(prompt_passages=1), "parameters": 4_000_000_000},
        {"system": "Answer in Latin."},
        {"system": ""},
        {"parameters": 4_000_000_000},
    ],
)
def test_an_example_is_what_chat_sends_and_the_reply(options: dict[str, object]) -> None:
    asked = Question("How often is the pump oiled?", ("every 500 hours",), reference="Oil: every 500 hours.")
    (made,) = ground([asked], FakeIndex(), **options)  # type: ignore[arg-type]
    assert made.messages[:-1] == sent(asked.question, **options)
    assert made.messages[-1] == Message("assistant", "Oil: every 500 hours.")
    assert not made.given


def test_only_a_small_model_is_pointed_at_the_best_sentence() -> None:
    question = "How often is the pump oiled?"
    for parameters, pointed in ((None, True), (135_000_000, True), (1_500_000_000, False)):
        assert (
            "Most relevant:" in sent(question, parameters, rag=RagOptions(prompt_passages=1))[-1].content
        ) is pointed
        assert "Most relevant:" in sent(question, parameters, rag=RagOptions(prompt_passages=2))[-1].content, (
            "and any among several"
        )


def test_the_named_passage_comes_where_search_misses_it() -> None:
    fan = Question("And the fan?", ("every week",), document="manual.md", spans=(FAN,), passage=FAN)
    (made,) = ground([fan], FakeIndex())
    assert made.given
    assert "[1] The fan is oiled every week." in made.messages[-2].content
    assert "pump" not in made.messages[-2].content
    pump = Question("The pump?", ("every 500 hours",), document="manual.md", spans=(PUMP,), passage=PUMP)
    assert [example.given for example in ground([pump], FakeIndex())] == [False]


def test_what_has_no_answer_is_learnt_as_such_and_what_has_no_reply_is_left_out() -> None:
    made = list(ground([Question("Who painted it?", ()), Question("Why?"), Question("How?", ("so",))], FakeIndex()))
    assert [example.messages[-1].content for example in made] == [UNANSWERABLE, "so"]
    with pytest.raises(UsageError, match="no question has a reply"):
        list(ground([Question("Why?")], FakeIndex()))


class Halves(FakeIndex):
    """Both halves of a question find the pump first, all of it the fan."""

    def search(self, query: str, k: int = 5) -> list[Passage]:
        fan, pump = replace(self._passage(*FAN), score=0.9), replace(self._passage(*PUMP), score=0.9)
        return [fan, replace(pump, score=0.1)] if " and " in query else [pump, replace(fan, score=0.1)]


@pytest.mark.parametrize(("parameters", "first"), [(None, "The fan"), (4_000_000_000, "The pump")])
def test_a_question_that_joins_two_is_grounded_as_chat_sends_it(parameters: int | None, first: str) -> None:
    asked = Question("How often is the pump oiled and who cleans the old fan?", reference="Every 500 hours; nobody.")
    engine = ScriptedEngine(["yes"])
    engine.parameters = parameters
    chat = Chat(Model(engine), knowledge=Halves())
    chat.ask(asked.question)
    (made,) = ground([asked], Halves(), parameters=parameters)
    assert made.messages[:-1] == chat.prompt
    assert f"[1] (Oil) {first}" in made.messages[-2].content
