"""What kind of thing a question asks for, and whether a sentence holds one: a number, a time, somebody's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from edge.text.terms import content_words, required_words

AnswerType = Literal["number", "time", "name"]

_ASKED: tuple[tuple[AnswerType, re.Pattern[str]], ...] = (
    (
        "number",
        re.compile(
            r"\bhow (?:many|much|long|old|far|tall|large|big|high|often|deep|heavy|fast)\b|\bpercent"
            r"|\bwhat (?:number|amount|fraction|share)\b"
        ),
    ),
    ("time", re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|century|decade|day|month|time)\b")),
    ("name", re.compile(r"\bwho(?:m|se)?\b")),
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|million|billion"
    r"|dozen|half|quarter|third|first|second|once|twice)\b"
)
_TIME = re.compile(
    r"\d\d|\b(?:january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday"
    r"|wednesday|thursday|friday|saturday|sunday|century|centuries|decade|decades)\b"
)


def answer_type(question: str) -> AnswerType | None:
    """None where the question's words do not say, and in other languages than English."""
    plain = question.lower()
    return next((wanted for wanted, pattern in _ASKED if pattern.search(plain)), None)


def answer_test(question: str) -> Callable[[str], bool]:
    """Whether a sentence holds what the question asks for; True for every sentence where that is not known.

    A name counts only if the question does not hold it already.
    """
    wanted = answer_type(question)
    if wanted == "number":
        return lambda sentence: _NUMBER.search(sentence.lower()) is not None
    if wanted == "time":
        return lambda sentence: _TIME.search(sentence.lower()) is not None
    if wanted == "name":
        known = set(content_words(question))
        return lambda sentence: not required_words(sentence) <= known
    return lambda sentence: True
