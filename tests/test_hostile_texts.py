"""Texts that repeat one sign over and over cost a time that grows with their length and not with its square: in every
expression of ours that meets documents, questions or what a model says, and in the libraries behind them.

Held is the growth of the time of this process's own computing, and only where there is enough of it to tell.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import process_time

import pytest

from edge.errors import DocumentError
from edge.evaluation import metrics
from edge.rag import abstention, citations, passage_selection, prompts, sanitize
from edge.text import sentences, terms
from edge.types import Passage
from edge_converters.data import pii
from edge_index.ingest import chunking
from edge_index.loaders import SUFFIXES, Extracted, parse
from edge_index.retrieval import answer_type
from edge_tui.history import query
from edge_tui.plain import answer_printer
from edge_tui.rendering import answer, markdown, math, sentence_marks
from edge_tui.slash_commands import typed_paths

_PAIRS = [
    *["don`t ", "''a", "“", "“a”", "a. ", "1.", "...", "!["],
    *["()", "[a](", "{}", "<a", "<!--", "<|", "&amp", "a@b."],
    *["\\(", "\\[", "$a", "```\n", "**a", "\\frac{"],
    *["\n", "\r\n", "\n \n", " ", "a", "漢", "a b ", "\n- ", "|a"],
    *["a/", "\x1b[", "\x1b]", "\u0301", '",', '"a'],
    *["+1 ", "a=", "a:\n", "/a ", "is not ", " and ", "password="],
]
SEEDS = [*string.punctuation, *_PAIRS]
SHORT, LONG = 5_000, 20_000
ENOUGH = 0.1
"""Seconds of computing below which a text of `LONG` characters is quick, whatever it grows by."""
GROWTH = 9.0
"""The square of 4 is 16; 4 with the noise of a loaded machine is well below this."""


def _passage(text: str) -> Passage:
    return Passage(text, "a.md", None, None, 0, len(text), 1.0, "0")


def _count(text: str) -> int:
    return 2 + (len(text) + 3) // 4


def _loader(name: str) -> Callable[[str], object]:
    """A loader that runs in this process; the others have limits of time and memory in one of their own."""
    suffix = {"text": ".txt", "tables": ".csv"}.get(name, f".{name}")
    return lambda text: parse(f"edge_index.loaders.{SUFFIXES[suffix]}", Path(f"x{suffix}"), text.encode())


FACTS = _passage("The pump is blue. It was made in 1999.")
READERS: dict[str, Callable[[str], object]] = {
    "sentences": sentences.sentence_spans,
    "content words": terms.content_words,
    "required words": terms.required_words,
    "grams": terms.grams,
    "quoting": sanitize.harmless,
    "orders": sanitize.orders,
    "abstains": abstention.abstains,
    "parts of a question": passage_selection.parts,
    "kind of a question": answer_type.answer_type,
    "numbers": lambda text: answer_type.answer_test("how many pumps")(text),
    "dates": lambda text: answer_type.answer_test("when was it")(text),
    "normalised": metrics.normalised,
    "evidence": lambda text: citations.lexical_evidence("what is the pump", [_passage(text)]),
    "long question": lambda text: citations.lexical_evidence(text, [FACTS]),
    "prompt": lambda text: prompts.turn("what is the pump", [_passage(text)], [], small=True),
    "chunks": lambda text: chunking.split(Extracted(text), count=_count),
    "formulas": markdown.formulas,
    "LaTeX": lambda text: math.readable(text[:2000]),
    "fences": answer._fences,
    "one row": sentence_marks.one_line,
    "plain sentences": answer_printer._SENTENCE.split,
    "dropped files": lambda text: typed_paths.dropped(f"/{text}"),
    "last path": typed_paths.fitting_last,
    "words looked for": query.terms,
    "excerpt": lambda text: query.excerpt(text, query.terms(f"pump {text[:1000]}")),
    "private strings": lambda text: list(pii.find_pii(text)),
    **{name: _loader(name) for name in ("text", "tables", "json", "js", "yaml", "toml", "c", "sh", "sql", "xml")},
}


def _cost(read: Callable[[str], object], text: str) -> float:
    begun = process_time()
    with suppress(DocumentError):  # one that is refused has been read
        read(text)
    return process_time() - begun


@pytest.mark.parametrize("name", READERS)
def test_the_time_does_not_grow_with_the_square(name: str) -> None:
    read = READERS[name]
    _cost(read, "Warm. " * 100)
    for seed in SEEDS:
        long, short = ((seed * (size // len(seed) + 1))[:size] for size in (LONG, SHORT))
        spent = _cost(read, long)
        if spent < ENOUGH:
            continue
        growth = min(_cost(read, long) / _cost(read, short) for _ in range(3))
        assert growth < GROWTH, f"{name}: {seed!r} repeated: {spent:.2f} s for {LONG} characters, x{growth:.1f} for x4"
