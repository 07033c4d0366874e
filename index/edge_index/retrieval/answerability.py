"""Whether the documents tell at all: a probability, from the score of the best passage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.types import Passage

SLOPE, OFFSET = 30.0, -11.7
"""Logistic regression of "answerable" on the best passage's score, with the starter encoder: 34.8 and -13.2 on eight
articles of SQuAD against each other's questions, 22.3 and -9.8 with four FAQs of Debian packages in equal shares.
Half is reached at a score of 0.39. tests/benchmarks/answerability.py fits it again and prints the curve."""


def answerable(passages: Sequence[Passage]) -> float:
    """The probability, 0 to 1, that the documents are about what was asked; `passages` as search ranks them.

    That they are about it is no promise that they hold the answer: a question that was written to look answerable
    looks so here, too. The best score alone does as well as a regression on seventeen features (cosines, coverage,
    margins, kinds of question), which differ by less than their error on articles that were left out.
    """
    if not passages:
        return 0.0
    return 1 / (1 + math.exp(-(SLOPE * max(passage.score for passage in passages) + OFFSET)))
