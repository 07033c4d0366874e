"""Forty short questions of general skill: a tuned model that has forgotten what its base could do shows here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from edge.errors import ContextOverflow
from edge.evaluation.records import Skill
from edge.evaluation.variants import Setup
from edge.rag.prompts import SYSTEM
from edge.types import Message

REPLY_TOKENS = 48
"""All of them are answered in a few words."""

KNOWLEDGE = (
    ("What is the capital of France?", r"\bparis\b"),
    ("What is the capital of Japan?", r"\btokyo\b"),
    ("Which planet is closest to the sun?", r"\bmercury\b"),
    ("Which planet is known as the red planet?", r"\bmars\b"),
    ("Who wrote the play Hamlet?", r"\bshakespeare\b"),
    ("What is the largest ocean on Earth?", r"\bpacific\b"),
    ("What gas do plants take in from the air to grow?", r"\bcarbon dioxide\b|\bco2\b|\bco₂"),
    ("How many legs does a spider have?", r"\b(8|eight)\b"),
    ("How many days are in a week?", r"\b(7|seven)\b"),
    ("At what temperature in degrees Celsius does water boil at sea level?", r"\b(100|one hundred|a hundred)\b"),
    ("What is the chemical formula of water?", r"\bh2o\b|\bh₂o"),
    ("On which continent is Egypt?", r"\bafrica\b"),
    ("Which animal is known as man's best friend?", r"\bdogs?\b"),
    ("What colour do you get when you mix blue and yellow?", r"\bgreen\b"),
    ("In which country is the Great Wall?", r"\bchina\b"),
    ("What is the opposite of hot?", r"\bcold\b"),
    ("Which organ pumps blood through the body?", r"\bheart\b"),
    ("What language is mainly spoken in Brazil?", r"\bportuguese\b"),
)
ARITHMETIC = (
    ("What is 2 + 3?", r"\b(5|five)\b"),
    ("What is 7 + 8?", r"\b(15|fifteen)\b"),
    ("What is 10 - 4?", r"\b(6|six)\b"),
    ("What is 6 times 7?", r"\b(42|forty[- ]two)\b"),
    ("What is 20 divided by 4?", r"\b(5|five)\b"),
    ("What is 9 + 1?", r"\b(10|ten)\b"),
    ("What is half of 50?", r"\b(25|twenty[- ]five)\b"),
    ("What is 100 - 1?", r"\b(99|ninety[- ]nine)\b"),
    ("Which is greater, 17 or 71?", r"^\W*71\b|\b71 is (greater|larger|bigger|more)|\b71\W*$"),
    ("I have 3 apples and buy 2 more. How many apples do I have?", r"\b(5|five)\b"),
    ("What number comes after 19?", r"\b(20|twenty)\b"),
    ("How many minutes are in two hours?", r"\b(120|one hundred (and )?twenty)\b"),
)
INSTRUCTIONS = (
    ("Reply with one word only: the name of a colour.", r"^\W*\w+\W*$"),
    ("Write the numbers from 1 to 5, separated by commas.", r"1, ?2, ?3, ?4, ?5"),
    ("Repeat exactly this word and nothing else: lantern", r"^\W*lantern\W*$"),
    ("Answer only yes or no: is ice cold?", r"^\W*yes\b"),
    ("Answer only yes or no: can a stone swim?", r"^\W*no\b"),
    ("Translate into Spanish: thank you", r"\bgracias\b"),
    ("Write the word house in capital letters.", r"(?-i:\bHOUSE\b)"),
    ("What is the plural of child?", r"\bchildren\b"),
    ("Complete the saying: an apple a day keeps the doctor …", r"\baway\b"),
    ("What is the past tense of the verb go?", r"\bwent\b"),
)
SKILLS = (*KNOWLEDGE, *ARITHMETIC, *INSTRUCTIONS)
"""Question, and an expression that is found in every right reply and, as good as can be, in no wrong one."""


def skilled(question: str, reply: str) -> bool:
    pattern = dict(SKILLS)[question]
    return re.search(pattern, reply.strip(), re.IGNORECASE) is not None


def tried(setup: Setup, variant: str, question: str) -> Skill:
    """One of the questions, put to the base or to the tuned model, greedily."""
    messages = [Message("system", SYSTEM), Message("user", question)]
    sampling = replace(setup.sampling, temperature=0.0, max_tokens=REPLY_TOKENS)
    try:
        text = setup.model.generate(
            messages, adapter=setup.adapter if variant == "tuned" else None, sampling=sampling
        ).text.strip()
    except ContextOverflow:
        text = ""
    return Skill(variant, question, text, skilled(question, text))


def interleaved() -> Iterator[tuple[str, str]]:
    """(variant, question): both variants of each, in turns first."""
    for number, (question, _) in enumerate(SKILLS):
        for variant in ("base", "tuned") if number % 2 == 0 else ("tuned", "base"):
            yield variant, question
