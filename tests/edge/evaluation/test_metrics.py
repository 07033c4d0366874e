"""The figures of a reply, held against other computations of the published rules and against counts by hand."""

from __future__ import annotations

import collections
import re
import string

import pytest

from edge.evaluation.metrics import contains, exact, keeps_form, measured, right_citations, rouge_l, token_f1
from edge.evaluation.records import Place, Question
from edge.evaluation.skills import SKILLS, skilled
from skill_answers import RIGHT

TRICKY = [
    ("The cat", "cat"),
    ("a the an", ""),
    ("", "the"),
    ("", ""),
    ("U.S.", "US"),
    ("10th-century", "10th century"),
    ("in the 10th and 11th centuries", "10th and 11th centuries"),
    ("Denmark,  Iceland\nand Norway.", "denmark iceland and norway"),
    ("theatre", "the atre"),
    ("an apple a day", "Apple day"),
    ("yes yes yes", "yes"),
    ("Zürich", "ZÜRICH"),
    ("$5", "5"),
    ("William the Conqueror", "William II"),
    ("don't", "dont"),
    ("’tis", "tis"),
]


def squad_words(text: str) -> list[str]:
    """SQuAD's rules once more, step by step and letter by letter."""
    bare = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare, flags=re.UNICODE).split()


def squad_f1(reply: str, answer: str) -> float:
    said, gold = squad_words(reply), squad_words(answer)
    if len(said) == 0 or len(gold) == 0:
        return float(said == gold)
    left = collections.Counter(gold)
    same = 0
    for word in said:
        if left[word] > 0:
            left[word] -= 1
            same += 1
    return 0.0 if same == 0 else 2 * (same / len(said)) * (same / len(gold)) / (same / len(said) + same / len(gold))


@pytest.mark.parametrize(("reply", "answer"), [*TRICKY, *[(b, a) for a, b in TRICKY]])
def test_exact_match_and_f1_are_those_of_squad(reply: str, answer: str) -> None:
    assert exact(reply, [answer]) == float(squad_words(reply) == squad_words(answer))
    assert token_f1(reply, [answer]) == pytest.approx(squad_f1(reply, answer))


def test_the_best_of_several_answers_counts() -> None:
    answers = ("in the first half of the 10th century", "10th century")
    assert exact("The 10th century.", answers) == 1
    assert token_f1("10th century", answers) == 1


@pytest.mark.parametrize(
    ("reply", "answer", "found"),
    [
        ("It was Rollo, the Norse leader.", "Rollo", 1),
        ("In 2010 it was built.", "10", 0),
        ("It lies in the U.S. today", "US", 1),
        ('{"country":"France"}', "France", 1),
        ("every 500-600 hours", "500", 1),
        ("cathedral", "cat", 0),
        ("anything at all", "the", 0),
    ],
)
def test_an_answer_stands_in_a_reply_as_whole_words(reply: str, answer: str, found: float) -> None:
    assert contains(reply, [answer]) == found


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    assert rouge_l("a b c d e", "a c e") == pytest.approx(2 * 3 / 8)
    assert rouge_l("", "a") == 0
    assert rouge_l("Same words.", "same WORDS") == 1


def test_a_form_is_kept_by_the_whole_reply() -> None:
    assert keeps_form(" STATUS: ok \n", r"STATUS: (ok|bad)") == 1
    assert keeps_form("STATUS: ok, I think", r"STATUS: (ok|bad)") == 0
    schema = {"type": "object", "properties": {"hours": {"type": "integer"}}, "required": ["hours"]}
    assert keeps_form('{"hours": 500}', schema) == 1
    assert keeps_form('{"hours": "many"}', schema) == 0
    assert keeps_form("500 hours", schema) == 0
    assert keeps_form('"ab"', {"pattern": "a(?=b)"}) == 1  # which no reply could be held to
    assert keeps_form('"ac"', {"pattern": "a(?=b)"}) == 0


def test_a_citation_is_right_where_it_touches_the_answer() -> None:
    known = Question("When?", ("1066",), document="Normans.md", spans=((100, 104),))
    hit, miss = Place("/docs/Normans.md", 90, 101, "…"), Place("/docs/Normans.md", 104, 120, "…")
    elsewhere = Place("/docs/Not Normans.md", 90, 120, "…")
    assert right_citations([hit], known) == 1
    assert right_citations([hit, miss], known) == 0.5
    assert right_citations([elsewhere], known) == 0
    assert right_citations([], known) == 0
    by_document = Question("When?", ("1066",), document="Normans.md")
    assert right_citations([miss, elsewhere], by_document) == 0.5
    assert right_citations([hit], Question("When?", ("1066",))) is None
    assert right_citations([], Question("When?", (), document="Normans.md")) is None


def test_as_asked_means_the_answer_and_the_form() -> None:
    both = Question("How often?", ("500",), form=r"EVERY \d+ H")
    assert measured(both, "EVERY 500 H", None)["as_requested"] == 1
    assert measured(both, "Every 500 hours.", None)["as_requested"] == 0
    assert measured(both, "EVERY 400 H", None)["as_requested"] == 0
    unanswerable = Question("Who?", ())
    assert measured(unanswerable, "The documents do not tell.", ())["as_requested"] == 1
    assert measured(unanswerable, "Rollo.", ())["as_requested"] == 0
    assert "f1" not in measured(unanswerable, "Rollo.", ())
    long = Question("Tell.", reference="police killed the gunman")
    assert measured(long, "police kill the gunman", None)["as_requested"] == pytest.approx(0.75)
    assert measured(Question("Tell."), "Well.", None) == {}


def test_the_general_questions_are_forty_and_tell_right_from_wrong() -> None:
    assert len(SKILLS) == len(dict(SKILLS)) == 40
    for question, _ in SKILLS:
        assert skilled(question, RIGHT[question]), question
        assert not skilled(question, ""), question
        assert not skilled(question, "STATUS: I have learnt nothing but this form."), question
