"""Which passages, and which sentences inside them, answer a question: vectors and words, fused.

A passage's place is the mean of two views. The fused one is a convex combination, after min-max over the
candidates, of its vectors' closeness and BM25 (Bruch et al., arXiv 2210.11934: better than reciprocal ranks).
The other is the score of its best sentence. A sentence is scored by cosine and by the share of the
question's words, weighted by rarity, that it carries itself or together with the sentence before it, where
a pronoun's noun often stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.words import content_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DENSE_WEIGHT = 0.6
"""Share of the vectors in the fused view; the rest is BM25's."""

FLOOR = 0.22
"""Best-sentence score below which a passage has nothing to do with the question: without a common word, a cosine
of 0.39.

On eight English Wikipedia articles of SQuAD's dev set it costs none of 1,278 answerable questions and refuses
42 % of the questions about an article that was left out."""

_ASKING = frozenset(
    "who whom whose what which when where why how is are was were do does did can could should will has have".split()
)
"""Words that open a question, with or without its mark."""

_COSINE, _COVERAGE, _WITH_PREVIOUS = 2.0, 1.0, 0.5


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
        self, vector: NDArray[np.float32], words: Sequence[str], frequencies: Mapping[str, int], count: int
    ) -> None:
        """`vector` [dim]; `words` stemmed; `frequencies`: in how many of `count` passages each word occurs."""
        self.vector = vector
        self._weights = {
            word: math.log(1 + (count - seen + 0.5) / (seen + 0.5))
            for word, seen in ((word, min(count, frequencies.get(word, 0))) for word in words)
        }
        self._total = sum(self._weights.values())

    def sentence_scores(self, candidate: Candidate) -> list[float]:
        """One score for each sentence, 0 to 1 (a negative cosine counts as 0)."""
        cosines = candidate.sentences.astype(self.vector.dtype) @ self.vector
        scores = []
        previous: set[str] = set()
        for (start, end), cosine in zip(candidate.spans, cosines, strict=True):
            words = set(content_words(candidate.text[start:end]))
            score = (
                _COSINE * max(0.0, float(cosine))
                + _COVERAGE * self._coverage(words)
                + _WITH_PREVIOUS * self._coverage(words | previous)
            )
            scores.append(score / (_COSINE + _COVERAGE + _WITH_PREVIOUS))
            previous = words
        return scores

    def _coverage(self, words: set[str]) -> float:
        if not self._total:
            return 0.0
        return sum(weight for word, weight in self._weights.items() if word in words) / self._total


def rank_passages(question: Question, candidates: Sequence[Candidate], k: int) -> list[tuple[Candidate, float]]:
    """The best `k` candidates above the floor with their scores, 0 to 1, best first."""
    sentence_scores = [question.sentence_scores(candidate) for candidate in candidates]
    best = [max(scores, default=0.0) for scores in sentence_scores]
    closeness = _min_max([_closeness(question.vector, candidate) for candidate in candidates])
    words = _min_max([candidate.bm25 for candidate in candidates])
    ranked = [
        (candidate, (DENSE_WEIGHT * near + (1 - DENSE_WEIGHT) * lexical + top) / 2)
        for candidate, near, lexical, top in zip(candidates, closeness, words, best, strict=True)
        if top >= FLOOR
    ]
    ranked.sort(key=lambda pair: (-pair[1], pair[0].id))
    return ranked[:k]


def asks(sentence: str, query: str) -> bool:
    """Whether a sentence of a document only asks what was asked: the headline of an FAQ, a quoted command.

    A query of keywords asks nothing: a sentence that holds them all, word for word, is what was looked for.
    """
    if sentence.rstrip().endswith("?"):
        return True
    plain = " ".join(query.casefold().split())
    is_question = plain.endswith("?") or plain.partition(" ")[0] in _ASKING
    plain = plain.strip(" ?")
    return is_question and bool(plain) and plain in " ".join(sentence.casefold().split())


def _closeness(vector: NDArray[np.float32], candidate: Candidate) -> float:
    """Cosine of the whole passage and, twice, of its closest sentence: a long passage hides its best one."""
    whole = float(candidate.vector @ vector)
    if not len(candidate.sentences):
        return whole
    return (whole + 2 * float((candidate.sentences.astype(vector.dtype) @ vector).max())) / 3


def _min_max(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 1.0 for value in values]
