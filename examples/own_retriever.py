"""Answers from a search of your own: a retriever that also says when it does not know.

    python examples/own_retriever.py "How long is the warranty?"

All that `edge.Chat` asks of a retriever is `search(query, k) -> list[Passage]`. With `answerable`, a probability, it
may say that what it found does not tell; then the model is not asked.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

import edge

ARTICLES = {
    "warranty": "The warranty lasts for three years. It covers the motor and the housing, but not the seals.",
    "shipping": "Orders are shipped within two days. Shipping inside the country is free of charge.",
    "returns": "Goods can be sent back within thirty days. The refund is paid by the way of the payment.",
}


class ArticleSearch:
    """Ranks articles by the words they share with the question. Yours may ask a database or a search engine."""

    def search(self, query: str, k: int = 5) -> list[edge.Passage]:
        found = [(self._share(query, text), name, text) for name, text in ARTICLES.items()]
        return [
            # start:end are positions in the text of the document, by which citations point into it.
            edge.Passage(text, name, None, None, 0, len(text), share, hashlib.sha256(text.encode()).hexdigest())
            for share, name, text in sorted(found, reverse=True)[:k]
            if share > 0
        ]

    def answerable(self, query: str, passages: Sequence[edge.Passage]) -> float:
        """The probability that these passages tell what is asked; below `RagOptions.min_answerable` (0.5) they do
        not."""
        return max((passage.score for passage in passages), default=0.0)

    @staticmethod
    def _share(query: str, text: str) -> float:
        words = {word.strip("?.,").lower() for word in query.split() if len(word) > 3}
        return sum(word in text.lower() for word in words) / max(1, len(words))


if __name__ == "__main__":
    question = sys.argv[1] if len(sys.argv) > 1 else "How long does the warranty last?"
    with edge.load("smollm2") as model:
        answer = edge.Chat(model, knowledge=ArticleSearch()).ask(question, sampling=edge.Sampling(max_tokens=60))
    print(answer)
    if answer.answerable is not None:
        print(f"\nProbability that the articles tell: {answer.answerable:.2f}")
