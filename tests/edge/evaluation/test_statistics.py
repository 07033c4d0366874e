"""Intervals against what they must be exactly: the bootstrap of zeros and ones is a binomial distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.evaluation.records import Row
from edge.evaluation.statistics import LEAST, difference, differences_of, interval, needed


def binomial_quantile(n: int, p: float, q: float) -> float:
    below = 0.0
    for k in range(n + 1):
        below += math.comb(n, k) * p**k * (1 - p) ** (n - k)
        if below >= q:
            return k / n
    return 1.0


@pytest.mark.parametrize(("ones", "n"), [(3, 10), (20, 40), (39, 40), (5, 100)])
def test_the_bootstrap_of_zeros_and_ones_is_binomial(ones: int, n: int) -> None:
    low, high = interval([1.0] * ones + [0.0] * (n - ones))
    for found, q in ((low, 0.025), (high, 0.975)):
        assert abs(found - binomial_quantile(n, ones / n, q)) <= 1 / n + 1e-9


def test_the_bootstrap_is_that_of_numpy_and_the_same_each_time() -> None:
    values = np.random.default_rng(5).normal(0.3, 1.0, size=60)
    drawn = np.random.default_rng(99).choice(values, size=(10_000, 60)).mean(axis=1)
    low, high = interval(list(values))
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=0.015)
    assert interval(list(values)) == (low, high)
    many = list(np.tile(values, 60))  # drawn in several portions
    assert interval(many)[1] - interval(many)[0] == pytest.approx((high - low) / math.sqrt(60), rel=0.1)


def test_pairing_finds_what_means_alone_would_not() -> None:
    """Hard and easy questions spread both ways alike; each is a little better in one of them."""
    hard = [i / 40 for i in range(40)]
    d = difference("rag", "base", "f1", [(value + 0.1 + 0.01 * (i % 3), value) for i, value in enumerate(hard)])
    assert d.outcome == "better"
    assert d.low > 0.09


@pytest.mark.parametrize(
    ("pairs", "metric", "outcome"),
    [
        ([(1.0, 0.0)] * 20 + [(0.0, 0.0)] * 20, "as_requested", "better"),
        ([(0.0, 1.0)] * 20 + [(0.0, 0.0)] * 20, "as_requested", "worse"),
        ([(2.0, 5.0)] * 10 + [(2.0, 4.0)] * 10, "nll_per_token", "better"),
        ([(1.0, 1.0)] * 40, "as_requested", "same"),
        ([(1.0, 0.0)] * 2 + [(0.0, 1.0)] + [(1.0, 1.0)] * 17, "as_requested", "unknown"),
        ([(1.0, 0.0)] * (LEAST - 1), "as_requested", "unknown"),
    ],
)
def test_outcomes(pairs: list[tuple[float, float]], metric: str, outcome: str) -> None:
    assert difference("a", "b", metric, pairs).outcome == outcome


def test_how_many_questions_would_tell() -> None:
    # mean 0.05, variance about 0.155: (1.96 + 0.84)^2 * 0.155 / 0.0025
    values = [1.0] * 2 + [-1.0] + [0.0] * 17
    variance = np.var(values, ddof=1)
    assert needed(values) == math.ceil((1.96 + 0.84) ** 2 * variance / 0.05**2)
    d = difference("a", "b", "as_requested", [(value, 0.0) for value in values])
    assert d.needed == needed(values)
    assert difference("a", "b", "as_requested", [(1.0, 0.0)] * 4).needed == 2 * LEAST
    assert difference("a", "b", "as_requested", [(1.0, 0.0)] * 40).needed == 0


def test_only_questions_that_both_ways_answered_are_paired() -> None:
    rows = [Row("base", i, "", {"as_requested": 0.0}) for i in range(12)]
    rows += [Row("rag", i, "", {"as_requested": 1.0, "citation": 1.0}) for i in range(11, -1, -2)]
    found = differences_of(rows, ("base", "rag"))
    assert [(d.variant, d.against, d.metric, d.n) for d in found] == [("rag", "base", "as_requested", 6)]
