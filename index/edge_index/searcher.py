"""One index as it is searched: what a question needs of encoder, full text and vectors, put into one order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from edge.text.terms import content_terms, content_words
from edge.types import Evidence, Passage
from edge_index.encoders.reranker import Reranker
from edge_index.ingest.embedding import TextEncoder, encoded
from edge_index.retrieval.ranking import Candidate, Question, asks, rank_passages
from edge_index.storage.attributes import passages_where
from edge_index.storage.store import Store, StoredPassage
from edge_index.vectors.search import VectorSearch

T = TypeVar("T")
Encoding: TypeAlias = Callable[[], TextEncoder]

_CANDIDATES = 30
"""Passages that the vectors, and as many that the words bring up for ranking."""

_LONGEST_QUERY = 4000
"""Characters of a question that are looked for."""

_EVIDENCE_SPREAD = 0.5
"""A sentence below this share of the best one's score is no evidence."""


class Searcher:
    """Searches a store. Not to be used from two threads at once: the index has a lock for that."""

    def __init__(self, store: Store, vectors: VectorSearch, reranker: Reranker | None) -> None:
        self._store = store
        self._vectors = vectors
        self._reranker = reranker
        self._last_question: tuple[str, int, Question] | None = None

    def passages(self, encoder: Encoding, query: str, k: int, where: Mapping[str, Any] | None) -> list[Passage]:
        """The best `k`, best first; `encoder` is asked for the index's own whenever a question is encoded."""
        return self._settled(lambda: self._ranked(encoder, _shortened(query), k, where))

    def sentences(self, encoder: Encoding, query: str, passages: Sequence[Passage], limit: int) -> list[Evidence]:
        """The sentences of `passages` that answer best, best first."""
        query = _shortened(query)
        evidence: list[Evidence] = []
        found = self._scored(self._question(encoder, query), passages)
        for score, p, start, end in found:
            if asks(p.text[start:end], query):
                continue
            sentence = Evidence(
                p.text[start:end], p.document, p.page, p.heading, p.start + start, p.start + end, min(1.0, score)
            )
            if evidence and score < _EVIDENCE_SPREAD * found[0][0]:
                break
            if not any(_overlap(sentence, other) for other in evidence):
                evidence.append(sentence)
            if len(evidence) == limit:
                break
        return evidence

    def _scored(self, question: Question, passages: Sequence[Passage]) -> list[tuple[float, Passage, int, int]]:
        """Every sentence of the passages with its score, best first."""
        ids = self._store.find_passages((p.document, p.start, p.end) for p in passages)
        wanted = [i for i in ids if i is not None]
        candidates = {c.id: c for c in self._settled(lambda: self._candidates(wanted, {}))}
        found = []
        for passage, passage_id in zip(passages, ids, strict=True):
            candidate = candidates.get(passage_id or -1)
            if candidate is None:
                continue
            for (start, end), score in zip(candidate.spans, question.sentence_scores(candidate), strict=True):
                # The passage's own place counts: a sentence among good neighbours is more likely the right one.
                found.append((score + passage.score / 7, passage, int(start), int(end)))
        found.sort(key=lambda row: -row[0])
        return found

    def _ranked(self, encoder: Encoding, query: str, k: int, where: Mapping[str, Any] | None) -> list[Passage]:
        question = self._question(encoder, query)
        among = passages_where(self._store, where) if where else None
        lexical = dict(self._store.bm25(content_terms(query), _CANDIDATES, among))
        nearest = self._vectors.search(question.vector, max(_CANDIDATES, k), among)
        candidates = self._candidates([passage for passage, _ in nearest] + list(lexical), lexical)
        ranked = rank_passages(question, candidates, k, reranker=self._reranker)
        rows = self._store.passages(candidate.id for candidate, _ in ranked)
        # Another process may have removed one of them meanwhile.
        return [as_passage(rows[candidate.id], score) for candidate, score in ranked if candidate.id in rows]

    def _settled(self, look: Callable[[], T]) -> T:
        """What `look` finds; looked for again where another process put other vectors in place meanwhile."""
        while True:
            encoder = self._store.meta("encoder")
            try:
                found = look()
            except ValueError:  # vectors of two lengths met
                if self._store.meta("encoder") == encoder:
                    raise
                continue
            if self._store.meta("encoder") == encoder:
                return found

    def _question(self, encoder: Encoding, query: str) -> Question:
        generation = self._store.generation()
        if self._last_question is None or self._last_question[:2] != (query, generation):
            words = content_words(query)
            vector = encoded(encoder(), [query])[0]
            question = Question(vector, words, self._store.frequencies(words), self._store.count(), query)
            self._last_question = (query, generation, question)
        return self._last_question[2]

    def _candidates(self, ids: Sequence[int], bm25: dict[int, float]) -> list[Candidate]:
        wanted = list(dict.fromkeys(ids))
        rows = self._store.passages(wanted)
        vectors = self._store.vectors_of(wanted, self._store.dim())
        return [
            Candidate(i, rows[i].text, *vectors[i], bm25=bm25.get(i, 0.0)) for i in wanted if i in rows and i in vectors
        ]


def _shortened(query: str) -> str:
    """A question that is no page: of a longer one its beginning and its end, where what is asked stands. No encoder
    reads more, and full-text search takes a time that grows with the square of the words."""
    half = _LONGEST_QUERY // 2
    return query if len(query) <= _LONGEST_QUERY else f"{query[:half]}\n{query[-half:]}"


def as_passage(row: StoredPassage, score: float) -> Passage:
    """A passage as the store has it, with its score."""
    place = (row.page, row.heading, row.start, row.end)
    return Passage(row.text, row.path, *place, score, row.sha256, row.metadata)


def _overlap(a: Evidence, b: Evidence) -> bool:
    return a.document == b.document and a.start < b.end and b.start < a.end
