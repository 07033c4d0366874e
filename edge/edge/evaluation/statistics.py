"""Whether a difference is more than chance: paired bootstrap, and how many questions would tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from edge.evaluation.metrics import METRICS
from edge.evaluation.records import VARIANTS, Difference, Figure, Outcome, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20_240_607
LEAST = 10
"""Pairs below which nothing is said: a bootstrap of so few is too sure of itself."""
MARGIN = 0.05
"""Two variants are as good as one another when their difference surely lies within this share."""

_DRAWN_AT_ONCE = 2_000_000
_POWER = 1.96 + 0.84
"""Normal quantiles of a two-sided test at 5 % that finds the difference 80 % of the time."""


def interval(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = SEED) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values` (Efron 1979): the middle of the means of `resamples`
    draws with replacement. The same seed gives the same interval."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    means = _means(array, resamples, np.random.default_rng(seed))
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def needed(values: Sequence[float]) -> int:
    """About how many pairs it takes to tell the mean of `values` from zero, or from a margin where it is smaller;
    from fewer than `LEAST` nothing can be foreseen but that it takes some more."""
    n = len(values)
    if n < LEAST:
        return 2 * LEAST
    mean = sum(values) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, n - 1))
    return max(LEAST, 30 if spread == 0 else 0, math.ceil((_POWER * spread / max(abs(mean), MARGIN)) ** 2))


def difference(variant: str, against: str, metric: str, pairs: Sequence[tuple[float, float]]) -> Difference:
    """Of two variants that answered the same questions."""
    values = [a - b for a, b in pairs]
    low, high = interval(values)
    mean = sum(values) / len(values)
    known = METRICS[metric]
    outcome: Outcome = "unknown"
    if len(values) >= LEAST:
        if low > 0 or high < 0:
            outcome = "better" if (mean > 0) == known.up else "worse"
        elif known.share and low >= -MARGIN and high <= MARGIN:
            outcome = "same"
    # The spread of few questions is a guess; half as many again is the least that is worth the work.
    more = max(needed(values), len(values) * 3 // 2) if outcome == "unknown" and known.share else 0
    return Difference(variant, against, metric, len(values), mean, low, high, outcome, more)


def figures_of(rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """The mean of every metric in every variant, over the questions that have it."""
    found: dict[str, dict[str, Figure]] = {}
    for variant in VARIANTS:
        mine = [row.figures for row in rows if row.variant == variant]
        for metric in METRICS:
            values = [figures[metric] for figures in mine if metric in figures]
            if values:
                mean = sum(values) / len(values)
                found.setdefault(variant, {})[metric] = Figure(mean, len(values), *interval(values))
    return found


def differences_of(rows: Sequence[Row], variants: Sequence[str]) -> tuple[Difference, ...]:
    """Every pair of variants in every quality, and every variant against the base in what it costs."""
    by_variant: dict[str, dict[int, Mapping[str, float]]] = {variant: {} for variant in variants}
    for row in rows:
        by_variant.setdefault(row.variant, {})[row.question] = row.figures
    found = []
    for first, second in combinations(variants, 2):
        both = sorted(by_variant[first].keys() & by_variant[second].keys())
        for metric, known in METRICS.items():
            if metric == "cached_tokens" or not (known.quality or first == variants[0]):
                continue
            pairs = [(by_variant[second][q], by_variant[first][q]) for q in both]
            values = [(a[metric], b[metric]) for a, b in pairs if metric in a and metric in b]
            if values:
                found.append(difference(second, first, metric, values))
    return tuple(found)


def _means(array: NDArray[np.float64], resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    import numpy as np

    step = max(1, _DRAWN_AT_ONCE // array.size)
    parts = []
    for start in range(0, resamples, step):
        drawn = random.integers(0, array.size, size=(min(step, resamples - start), array.size))
        parts.append(array[drawn].mean(axis=1))
    return np.concatenate(parts)
