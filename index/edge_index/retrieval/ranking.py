"""Which passages, and which sentences inside them, answer a question: vectors and words, fused.

A passage's score is a weighted sum of how close the question is to all of it and to its closest sentence, of its
BM25, of the share of the question's words that it carries, and of the score of its best sentence. A sentence is
scored by cosine, by the share of the question's words, weighted by rarity, that it carries itself or together with
the sentence before it, where a pronoun's noun often stands, and by whether it holds the kind of thing that is asked
for. Nothing but BM25 is relative to the other candidates, so that the score also tells whether the documents know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.text.terms import content_words, required_words
from edge_index.retrieval.answer_type import answer_test

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHOLE, CLOSEST, LEXICAL, SENTENCE, COVERED = 0.145, 0.36, 0.02, 0.38, 0.095
"""Shares of a passage's score, 1 in all. Found on SQuAD's articles and on four FAQs together (tests/benchmarks):
what helps only one of them was left out."""

FLOOR = 0.28
"""Best-sentence score below which a passage has nothing to do with the question: without a common word, a cosine
of 0.36. Whether the documents tell at all is decided more strictly, in `answerable`."""

REPEATS = 0.9
"""Share of common words from which on two passages are the same one, if no number or name tells them apart."""

_JUDGED = 8
"""Words that two passages must have for one to be called a repetition of the other."""

_RERANKED = 0.5
"""Share of a reranker in the order, where one is given."""

_QUOTABLE = 4
"""Words of a question that nobody writes down word for word but to ask it; "seal?" is none."""

_ASKING = frozenset(
    "who whom whose what which when where why how is are was were do does did can could should will has have".split()
)
"""Words that open a question, with or without its mark."""

_COSINE, _COVERAGE, _WITH_PREVIOUS, _ANSWER_TYPE = 2.0, 1.0, 0.5, 0.35


class Scorer(Protocol):
    """Anything that scores texts against a query, higher is better: a `Reranker`."""

    def scores(self, query: str, texts: Sequence[str], /) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that search brought up. `sentences`: spans [n, 2] from the passage's start, vectors [n, dim]."""

    id: int
    text: str
    vector: NDArray[np.float32]
    spans: NDArray[np.int32]
    sentences: NDArray[np.float16]
    bm25: float = 0.0


class Question:
    """What a question's words weigh in this index."""

    def __init__(
        self,
        vector: NDArray[np.float32],
        words: Sequence[str],
        frequencies: Mapping[str, int],
        count: int,
        text: str = "",
    ) -> None:
        """`vector` [dim]; `words` stemmed; `frequencies`: in how many of `count` passages each word occurs;
        `text`: the question itself, from which is seen what kind of thing it asks for."""
        self.vector = vector
        self.text = text
        self._weights = {
            word: math.log(1 + (count - seen + 0.5) / (seen + 0.5))
            for word, seen in ((word, min(count, frequencies.get(word, 0))) for word in words)
        }
        self._total = sum(self._weights.values())
        self._has_answer_type = answer_test(text)

    def sentence_scores(self, candidate: Candidate) -> list[float]:
        """One score for each sentence, 0 to 1 (a negative cosine counts as 0)."""
        return self._sentences(candidate)[1]

    def score(self, candidate: Candidate, lexical: float) -> tuple[float, float]:
        """The score of a passage, 0 to 1, and that of its best sentence; `lexical` 0 to 1 is its place by BM25.

        A sentence that repeats the question word for word is the nearest of all and tells nothing: the passage is
        scored by its others.
        """
        cosines, scores, words = self._sentences(candidate)
        if not scores:
            return 0.0, 0.0
        whole = max(0.0, float(candidate.vector @ self.vector))
        telling = [
            (cosine, score)
            for cosine, score, (start, end) in zip(cosines, scores, candidate.spans.tolist(), strict=True)
            if not repeats(candidate.text[start:end], self.text)
        ]
        closest = max((cosine for cosine, _ in telling if cosine > 0), default=0.0)
        best = max((score for _, score in telling), default=0.0)
        score = WHOLE * whole + CLOSEST * closest + LEXICAL * lexical + SENTENCE * best
        return min(1.0, score + COVERED * self._coverage(words)), max(scores)

    def _sentences(self, candidate: Candidate) -> tuple[list[float], list[float], set[str]]:
        """The cosines and the scores of its sentences, and all their words."""
        cosines: list[float] = (candidate.sentences.astype(self.vector.dtype) @ self.vector).tolist()
        scores = []
        previous: set[str] = set()
        everything: set[str] = set()
        for (start, end), cosine in zip(candidate.spans, cosines, strict=True):
            sentence = candidate.text[start:end]
            words = set(content_words(sentence))
            score = (
                _COSINE * max(0.0, cosine)
                + _COVERAGE * self._coverage(words)
                + _WITH_PREVIOUS * self._coverage(words | previous)
                + _ANSWER_TYPE * self._has_answer_type(sentence)
            )
            scores.append(min(1.0, score / (_COSINE + _COVERAGE + _WITH_PREVIOUS + _ANSWER_TYPE)))
            everything |= words
            previous = words
        return cosines, scores, everything

    def _coverage(self, words: set[str]) -> float:
        if not self._total:
            return 0.0
        return sum(weight for word, weight in self._weights.items() if word in words) / self._total


def rank_passages(
    question: Question, candidates: Sequence[Candidate], k: int, *, reranker: Scorer | None = None
) -> list[tuple[Candidate, float]]:
    """The best `k` candidates above the floor with their scores, 0 to 1, best first.

    Of passages that repeat one another only the best is kept.
    """
    most = max((candidate.bm25 for candidate in candidates), default=0.0) or 1.0
    ranked = []
    for candidate in candidates:
        score, sentence = question.score(candidate, candidate.bm25 / most)
        if sentence >= FLOOR:
            ranked.append((candidate, score))
    ranked.sort(key=lambda pair: (-pair[1], pair[0].id))
    if reranker is not None:
        ranked = _rerank(reranker, question.text, ranked)
    return _different(ranked, k)


def _rerank(reranker: Scorer, query: str, ranked: Sequence[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
    """The same passages in the order of both scores' mean. The scores themselves stay: they are handed on in the
    new order, so that the best passage carries the best one."""
    scores = [float(score) for score in reranker.scores(query, [candidate.text for candidate, _ in ranked])]
    both = [
        (1 - _RERANKED) * own + _RERANKED * other
        for own, other in zip(_min_max([score for _, score in ranked]), _min_max(scores), strict=True)
    ]
    order = sorted(range(len(ranked)), key=lambda i: (-both[i], i))
    return [(ranked[i][0], score) for i, (_, score) in zip(order, ranked, strict=True)]


def _different(ranked: Sequence[tuple[Candidate, float]], k: int) -> list[tuple[Candidate, float]]:
    """The first `k` of which none repeats a better one."""
    kept: list[tuple[Candidate, float]] = []
    seen: list[tuple[set[str], set[str]]] = []
    for candidate, score in ranked:
        if len(kept) == k:
            break
        words, facts = set(content_words(candidate.text)), required_words(candidate.text)
        if not any(_repeats(words, facts, *other) for other in seen):
            kept.append((candidate, score))
            seen.append((words, facts))
    return kept


def _repeats(words: set[str], facts: set[str], other_words: set[str], other_facts: set[str]) -> bool:
    everything, different = words | other_words, words ^ other_words
    enough = len(everything) >= _JUDGED and len(different) <= (1 - REPEATS) * len(everything)
    return enough and not different & (facts | other_facts)


def asks(sentence: str, query: str) -> bool:
    """Whether a sentence of a document only asks what was asked: the headline of an FAQ, a quoted command.

    A query of keywords asks nothing: a sentence that holds them all, word for word, is what was looked for.
    """
    return sentence.rstrip().endswith(("?", "？")) or repeats(sentence, query)


def repeats(sentence: str, query: str) -> bool:
    """Whether a sentence holds the question `query` word for word; keywords are no question."""
    plain = " ".join(query.casefold().split())
    is_question = plain.endswith("?") or plain.partition(" ")[0] in _ASKING
    plain = plain.strip(" ?")
    return is_question and len(plain.split()) >= _QUOTABLE and plain in " ".join(sentence.casefold().split())


def _min_max(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 1.0 for value in values]
