"""Replies that say nothing: told from answers, and in time to go on reading instead of showing them."""

from __future__ import annotations

import pytest

from edge.rag.abstention import abstains, may_abstain


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The documents do not tell.",
        "The passages don't say when the pump was made.",
        "The text does not mention a date. It speaks of pumps.",
        "I'm sorry, but I cannot answer that.",
        "It is not specified in the passage.",
        "There is no information about that.",
        "That is unanswerable.",
        "I do not know.",
        "The answer cannot be determined from the passage.",
    ],
)
def test_saying_that_the_documents_do_not_answer(reply: str) -> None:
    assert abstains(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Rollo was the Norse leader.",
        "The pump does not need oil.",
        "No.",
        "He was not a king, and not the duke of Normandy either.",
        "It is known as the red planet.",
        "Rollo. He ruled for years. The passage does not say how many.",
    ],
)
def test_an_answer_is_no_silence(reply: str) -> None:
    assert not abstains(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "The passages do not tell who led them.",
        "The passage doesn't mention it.",
        "They do not tell.",
        "I'm sorry, but the text does not say.",
        "There is no information about the valve.",
        "Not mentioned in the passage.",
        "Based on the passages provided, it is not stated when the seal is due.",
        "The provided text does not contain the answer.",
        "The answer is not given.",
        "Unfortunately, the documents do not say.",
    ],
)
def test_a_reply_that_says_nothing_is_held_back_until_that_is_known(reply: str) -> None:
    known = next(end for end in range(1, len(reply) + 1) if abstains(reply[:end]))
    assert all(may_abstain(reply[:end]) for end in range(1, known))


@pytest.mark.parametrize(
    ("reply", "waits"),
    [
        ("Rollo was the Norse leader.", ""),
        ("Every 4,000 hours.", ""),
        ("1952", ""),
        ("The seal is replaced every 4,000 hours.", "The se"),
        ("The passage says that it is due.", "The passage "),
        ("They were Normans.", "They "),
        ("No, it runs dry.", "No"),
        ("I think so.", "I "),
    ],
)
def test_an_answer_is_shown_as_soon_as_it_is_known_for_one(reply: str, waits: str) -> None:
    shown = next(end for end in range(1, len(reply) + 1) if not may_abstain(reply[:end]))
    assert len(waits) - 3 <= shown <= len(waits) + 4, reply[:shown]


def test_nothing_is_held_back_for_long() -> None:
    assert may_abstain("The passage is " + "very " * 10)
    assert not may_abstain("The passage is " + "very " * 20)
    assert not may_abstain("The passage is old. It")
