"""An answer held against its passages: every sentence gets the quote it stands on, or is called the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge.rag import retriever
from edge.text.sentences import sentence_spans
from edge.text.terms import content_words, required_words
from edge.types import Citation, Claim, Evidence, EvidenceRetriever, Passage, Retriever

SUPPORT = 0.6
"""The share of a sentence's content words that its quote must carry."""

SUPPORT_OF_NEWS = 0.75
"""The same, of the words that the question did not already hold: those are what the sentence claims."""


_SECOND_SENTENCE = 0.15


@dataclass(frozen=True, slots=True)
class _Quote:
    passage: Passage
    start: int
    end: int
    words: frozenset[str]
    sentences: int

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]


def cite(
    answer: str, passages: Sequence[Passage], question: str = ""
) -> tuple[tuple[Citation, ...], tuple[Claim, ...]]:
    """Citations of the sentences that a passage carries, and the claims that none does.

    A quote, one sentence of a passage or two in a row, supports a claim when it holds every number and name
    of it, at least `SUPPORT` of its content words and `SUPPORT_OF_NEWS` of those that are not in the question.
    One sentence is preferred to two, and of equal quotes the shorter one.
    """
    asked = set(content_words(question))
    quotes = [quote for passage in passages for quote in _quotes(passage)]
    citations, unsupported = [], []
    for start, end in sentence_spans(answer):
        claim = Claim(answer[start:end], start, end)
        best = _best(claim.text, asked, quotes)
        if best is None:
            unsupported.append(claim)
        else:
            score, quote = best
            p = quote.passage
            citations.append(
                Citation(
                    claim, quote.text, p.document, p.page, p.heading, p.start + quote.start, p.start + quote.end, score
                )
            )
    return tuple(citations), tuple(unsupported)


def find_evidence(knowledge: Retriever | None, question: str, passages: Sequence[Passage]) -> tuple[Evidence, ...]:
    """The sentences that answer best: by the retriever where it finds them, else by their words."""
    if isinstance(knowledge, EvidenceRetriever):
        return retriever.evidence(knowledge, question, passages)
    return lexical_evidence(question, passages)


def lexical_evidence(question: str, passages: Sequence[Passage], limit: int = 3) -> tuple[Evidence, ...]:
    """The sentences that share most content words with the question, for retrievers that rank none."""
    wanted = set(content_words(question))
    if not wanted:
        return ()
    found = []
    for passage in passages:
        for start, end in sentence_spans(passage.text):
            text = passage.text[start:end]
            score = len(wanted & set(content_words(text))) / len(wanted)
            if score > 0:
                at = passage.start
                place = (passage.document, passage.page, passage.heading, at + start, at + end)
                found.append(Evidence(text, *place, score))
    found.sort(key=lambda evidence: -evidence.score)
    return tuple(found[:limit])


def _quotes(passage: Passage) -> Iterator[_Quote]:
    spans = sentence_spans(passage.text)
    for start, end in spans:
        yield _Quote(passage, start, end, frozenset(content_words(passage.text[start:end])), 1)
    for (start, _), (_, end) in pairwise(spans):
        yield _Quote(passage, start, end, frozenset(content_words(passage.text[start:end])), 2)


def _best(claim: str, asked: set[str], quotes: Sequence[_Quote]) -> tuple[float, _Quote] | None:
    words = set(content_words(claim))
    if not words:
        return None
    news = words - asked
    required = required_words(claim)
    best: tuple[float, _Quote] | None = None
    for quote in quotes:
        score = len(words & quote.words) / len(words)
        supported = not news or len(news & quote.words) / len(news) >= SUPPORT_OF_NEWS
        if score < SUPPORT or not supported or not required <= quote.words:
            continue
        if best is None or _worth(score, quote) > _worth(*best):
            best = (score, quote)
    return best


def _worth(score: float, quote: _Quote) -> tuple[float, int]:
    """A second sentence must carry a good deal more; of equal quotes the shorter one."""
    return score - _SECOND_SENTENCE * (quote.sentences - 1), -len(quote.text)
