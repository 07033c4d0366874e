"""How many passages a question is worth."""

from __future__ import annotations

import pytest

from edge.rag.passage_selection import affordable, chances, find, parts, worth_reading
from edge.types import Passage


def passages(*scores: float) -> list[Passage]:
    return [Passage(f"text {i}", f"/docs/{i}.md", None, None, 0, 6, score, "00") for i, score in enumerate(scores)]


def test_the_chances_are_one_in_all_and_fall_with_the_score() -> None:
    of = chances(passages(0.9, 0.85, 0.8, 0.5))
    assert sum(of) == pytest.approx(1.0)
    assert of == sorted(of, reverse=True)
    assert of[3] < 0.01
    assert chances([]) == []


@pytest.mark.parametrize(
    ("scores", "read"),
    [((), 0), ((0.9,), 1), ((0.9, 0.6, 0.6), 1), ((0.7, 0.69, 0.5, 0.4), 2), ((0.7, 0.7, 0.7, 0.7, 0.7), 4)],
)
def test_what_may_as_well_tell_is_read_along(scores: tuple[float, ...], read: int) -> None:
    assert worth_reading("Who led the Normans?", passages(*scores)) == read


@pytest.mark.parametrize(
    "question", ["What is the difference between a priory and an abbey?", "What have pumps and fans in common?"]
)
def test_a_question_that_compares_gets_them_all(question: str) -> None:
    assert worth_reading(question, passages(0.9, 0.3, 0.3, 0.3, 0.3)) == 4


def test_the_parts_of_a_question() -> None:
    assert parts("Who led the Normans, and when did they settle in France?") == [
        "Who led the Normans",
        "when did they settle in France",
    ]
    assert parts("Who led the Normans?") == []
    assert parts("Who were Rollo and William?") == []
    assert parts("When was Rollo baptised, and where?") == [], "a word alone finds nothing"
    assert parts("Who led the Normans of Rouen? " * 5) == [], "a pasted page"


def test_every_part_is_searched_for_and_the_best_of_each_come_first() -> None:
    seal, motor, fan = passages(0.9, 0.8, 0.4)

    class FakeIndex:
        def search(self, query: str, k: int = 5) -> list[Passage]:
            return [motor, fan][:k] if "motor" in query and "seal" not in query else [seal, fan][:k]

    joined = "When is the shaft seal due and what drives the motor shaft?"
    assert find(FakeIndex(), joined, 5) == ([seal, motor, fan], 2)
    assert find(FakeIndex(), joined, 1) == ([seal], 1)
    assert find(FakeIndex(), "When is the shaft seal due?", 5) == ([seal, fan], 1)


@pytest.mark.parametrize(("limit", "count"), [(0.0, 1), (1.9, 1), (2.0, 2), (5.0, 3), (60.0, 4)])
def test_the_limit_is_the_seconds_of_what_comes_behind_the_best(limit: float, count: int) -> None:
    assert affordable(passages(*[0.9] * 6), lambda _: 2.0, limit) == count
