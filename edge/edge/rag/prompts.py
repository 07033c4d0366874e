"""What the model is sent: the system's words, passages, the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from edge.rag.sanitize import harmless, orders
from edge.text.sentences import sentence_spans
from edge.types import Evidence, Passage

SYSTEM = "You are a helpful assistant. Answer in short, plain sentences."
SYSTEM_WITH_PASSAGES = (
    "You answer questions from the passages that the user gives you. Use only what the passages say, "
    "in one or two short sentences. If the passages do not tell, say that they do not tell."
)

_OPENING, _END = "Passages:\n\n", "\n\n"

_SMALL = 800_000_000
"""Parameters below which a model is small."""

_GAP = 8
"""Characters that may stand between two passages that follow one another: blanks and line ends."""

_BLANK_LINES = re.compile(r"\n\s*\n")


def is_small(parameters: int | None) -> bool:
    """Whether a model has to be pointed at the best sentence; one of an unknown size is."""
    return parameters is None or parameters < _SMALL


def turn(question: str, passages: Sequence[Passage], evidence: Sequence[Evidence], *, small: bool) -> str:
    """Passages, for a small model or where they are several the best sentence once more, the question.

    Pointed at it, SmolLM2-135M answers 49 of 90 questions instead of 42 from one passage, and Qwen2.5-1.5B has F1 0.763
    instead of 0.643 from four (50 questions). From one passage that model gains nothing (0.728 with and 0.732 without,
    100 questions), and where the passage was read beforehand that sentence is most of what is left to read: the first
    word comes after 0.9 s with and 0.33 s without.

    A blank line ends a passage, and none stands inside one. The best passage stands alone and first, as it does where
    it was read beforehand; of the others those that follow one another in a document are one.
    A sentence that gives orders is nothing to point at.
    """
    if not passages:
        return question
    read = [passages[0], *_neighbours_joined(passages[1:])]
    blocks = _END.join(numbered(i, passage) for i, passage in enumerate(read, 1))
    pointed = evidence if small or len(passages) > 1 else ()
    best = next((quoted for e in pointed if not orders(quoted := _line(e.quote))), None)
    pointer = f"Most relevant: {best}\n\n" if best else ""
    return f"{_OPENING}{blocks}{_END}{pointer}Question: {question}"


def shared_prefixes_of(passages: Sequence[Passage]) -> tuple[str, ...]:
    """What turns about other questions begin with, too: that of every turn with passages, and that of every turn with
    this first passage. None without passages."""
    if not passages:
        return ()
    return _OPENING, f"{_OPENING}{numbered(1, passages[0])}{_END}"


def numbered(number: int, passage: Passage) -> str:
    """A passage as the model reads it."""
    text, heading = harmless(passage.text), _line(passage.heading or "")
    place = f" ({heading})" if heading else ""
    return f"[{number}]{place} {_marked(text)}"


def _neighbours_joined(passages: Sequence[Passage]) -> list[Passage]:
    """Passages that follow one another, as one; each in the place of its best part."""
    runs: list[list[Passage]] = []
    for passage in sorted(passages, key=lambda p: (p.document, p.start)):
        if runs and _follows(runs[-1][-1], passage):
            runs[-1].append(passage)
        else:
            runs.append([passage])
    runs.sort(key=lambda run: min(passages.index(p) for p in run))
    return [replace(run[0], text="\n".join(p.text for p in run), end=run[-1].end) for run in runs]


def _follows(first: Passage, second: Passage) -> bool:
    same = (first.document, first.heading) == (second.document, second.heading)
    return same and 0 <= second.start - first.end <= _GAP


def _marked(text: str) -> str:
    """Sentences that speak to the model come as what they are: something that the document says."""
    marked, at = "", 0
    for start, finish in sentence_spans(text):
        sentence = text[start:finish]
        said = f'(the document says: "{_line(sentence)}")' if orders(sentence) else sentence
        marked += text[at:start] + said
        at = finish
    return _BLANK_LINES.sub("\n", (marked + text[at:]).strip())


def _line(text: str) -> str:
    return " ".join(harmless(text).split())
