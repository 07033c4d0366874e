"""From words that a person types to what SQLite's full text takes, and back to the place where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.text.terms import grams, is_gram

_AROUND = 50
_WORD = re.compile(r"\w")
_LONGEST = 50
"""Letters of a word that are looked for in a line."""
_STEM = 5
"""Letters that a form of a word has in common with it, at least."""


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that must be found: by one of `matches`, (table, what it takes), or literally where there are none."""

    matches: tuple[tuple[str, str], ...]
    literal: str


def terms(typed: str) -> tuple[Term, ...]:
    """All of these must stand in a chat. The last word may still be half typed."""
    out: list[Term] = []
    chunks = [chunk for chunk in typed.replace("\0", " ").split() if _WORD.search(chunk)]
    for number, chunk in enumerate(chunks, 1):
        found = grams(chunk).split()
        out += [Term((("pairs", _quoted(pair)),) if len(pair) == 2 else (), pair) for pair in found]
        rest = "".join(" " if is_gram(letter) else letter for letter in chunk) if found else chunk
        for word in filter(_WORD.search, rest.split()):
            half = (("starts", f"{_quoted(word)}*"),) if number == len(chunks) else ()
            out.append(Term((("words", _quoted(word)), *half), word))
    return tuple(out)


def excerpt(text: str, wanted: tuple[Term, ...]) -> str:
    """The line of `text` around the first of the words that stands there, else its beginning."""
    line = " ".join(text.split())
    low = line.lower()
    places = [at for term in wanted if (at := _place(low, term.literal.lower())) >= 0]
    start = max(0, min(places, default=0) - _AROUND)
    end = min(len(line), start + 3 * _AROUND)
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"


def _place(text: str, word: str) -> int:
    """Where a word, or a form of it, begins."""
    word = word[:_LONGEST]
    for length in range(len(word), min(len(word), _STEM) - 1, -1):
        if (at := text.find(word[:length])) >= 0:
            return at
    return -1


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
