"""Which sentence of an answer is carried by which sentence of a passage: judged by hand, case by case."""

from __future__ import annotations

import pytest

from edge import Passage
from edge.rag.citations import cite, lexical_evidence

TEXT = (
    "Rollo was the leader of the Normans. He swore fealty to King Charles III in 911. "
    "The duchy lay at the mouth of the Seine. It grew to 30,000 people, who spoke a Romance language."
)


def passage(text: str = TEXT, start: int = 1000, document: str = "/docs/normans.md") -> Passage:
    return Passage(text, document, 3, "Origins", start, start + len(text), 0.9, "00")


@pytest.mark.parametrize(
    ("sentence", "quote"),
    [
        ("The leader of the Normans was Rollo.", "Rollo was the leader of the Normans."),
        ("The Normans' leaders were led by Rollo.", "Rollo was the leader of the Normans."),
        ("He swore fealty to Charles III in 911.", "He swore fealty to King Charles III in 911."),
        ("Rollo swore fealty to King Charles III.", "Rollo was the leader of the Normans. He swore fealty to King "
                                                   "Charles III in 911."),
        ("The duchy grew to 30,000 people.", "The duchy lay at the mouth of the Seine. It grew to 30,000 people, who "
                                             "spoke a Romance language."),
    ],
)  # fmt: skip
def test_a_sentence_that_the_passage_carries_gets_its_quote(sentence: str, quote: str) -> None:
    citations, unsupported = cite(sentence, [passage()])
    assert [c.quote for c in citations] == [quote]
    assert unsupported == ()


@pytest.mark.parametrize(
    "sentence",
    [
        "He swore fealty to King Charles III in 912.",  # another year
        "He swore fealty to King Louis III in 911.",  # another name
        "The duchy grew to 31,000 people.",  # another number
        "Paris is the capital of France.",
        "I am a helpful assistant.",
        "Yes.",
    ],
)
def test_a_sentence_that_it_does_not_carry_is_the_models_own(sentence: str) -> None:
    citations, unsupported = cite(sentence, [passage()])
    assert citations == ()
    assert [claim.text for claim in unsupported] == [sentence]


def test_what_the_sentence_adds_to_the_question_is_what_must_be_supported() -> None:
    knowledge = [passage("`edge models pull` is the only thing that may use the network.")]
    question = "What is the only thing that may use the network?"
    assert cite("The only thing that may use the network is a server.", knowledge, question)[0] == ()
    reported = "The only thing that may use the network is `edge models pull`."
    assert len(cite(reported, knowledge, question)[0]) == 1


def test_positions_point_into_the_document_and_into_the_answer() -> None:
    answer = "Let me see. The leader of the Normans was Rollo. That is all."
    document = "x" * 1000 + TEXT
    (citation,), unsupported = cite(answer, [passage()])
    assert document[citation.start : citation.end] == citation.quote
    assert answer[citation.claim.start : citation.claim.end] == citation.claim.text
    assert (citation.document, citation.page, citation.heading) == ("/docs/normans.md", 3, "Origins")
    assert [answer[claim.start : claim.end] for claim in unsupported] == ["Let me see.", "That is all."]


def test_the_better_passage_is_quoted() -> None:
    vague = passage("The Normans had leaders, and Rollo is a name.", 0, "/docs/vague.md")
    (citation,), _ = cite("Rollo was the leader of the Normans.", [vague, passage()])
    assert citation.document == "/docs/normans.md"


def test_no_passages_and_no_answer() -> None:
    assert cite("", [passage()]) == ((), ())
    assert cite("Rollo led them.", [])[0] == ()


def test_lexical_evidence_is_literal_and_best_first() -> None:
    first, *_ = lexical_evidence("To whom did he swear fealty?", [passage()])
    assert first.quote == "He swore fealty to King Charles III in 911."
    assert ("x" * 1000 + TEXT)[first.start : first.end] == first.quote
    assert lexical_evidence("of the", [passage()]) == ()
