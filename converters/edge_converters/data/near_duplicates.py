"""Texts that are nearly the same, found among a hundred thousand in seconds.

MinHash over runs of three words with banding (A. Broder 1997; Leskovec et al., Mining of Massive Datasets, chapter 3):
candidates are proposed by equal bands and then compared run by run, so that every pair that is told is one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_SIMILARITY = 0.8
"""Share of common runs (Jaccard) from which on two texts count as nearly the same."""

_SHINGLE_WORDS, _HASHES, _BAND_ROWS = 3, 64, 4  # 16 bands of 4: a pair at 0.8 is proposed with a probability of 0.9998
_BLOCK = 1 << 18  # runs that are hashed at a time: 64 values of 8 bytes each
_MAX_ROUNDS = 32  # texts of one band that the others are compared with
_WORDS = re.compile(r"\w+|[^\w\s]")
# A run that most texts have is the form they share (an instruction, a report's headings), not what they say.
_BOILERPLATE, _BOILERPLATE_MIN_TEXTS = 0.5, 20


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Text `second` is nearly the same as `first`, which stands before it; `similarity` of their runs is common."""

    first: int
    second: int
    similarity: float


def normalize(text: str) -> str:
    """A text without what nobody would call a difference: case, white space, marks at the end."""
    return " ".join(text.casefold().split()).rstrip(" .!?")


def find_near_duplicates(texts: Sequence[str]) -> list[NearDuplicate]:
    """Pairs of nearly the same texts, by the place of the second: at least one for each text that has one before it.

    Of many that are all alike not every pair is told, but enough to see that they belong together.
    """
    if len(texts) < 2:
        return []
    shingles, starts = _without_boilerplate(*_shingles(texts))
    found = []
    for first, second in _candidates(_signatures(shingles, starts)):
        similarity = _jaccard(shingles, starts, first, second)
        if similarity >= MIN_SIMILARITY:
            found.append(NearDuplicate(first, second, round(similarity, 3)))
    return sorted(found, key=lambda pair: (pair.second, -pair.similarity, pair.first))


def _shingles(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct runs of every text, sorted, one text behind the other, and where each text's begin and end."""
    import numpy as np

    known: dict[str, int] = {}
    parts, starts = [], np.zeros(len(texts) + 1, np.int64)
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    for number, text in enumerate(texts):
        words = [known.setdefault(word, zlib.crc32(word.encode())) for word in _WORDS.findall(text.casefold())]
        words += [0] * (_SHINGLE_WORDS - len(words))
        values = np.array(words, np.uint64)
        mixed = np.zeros(len(words) - _SHINGLE_WORDS + 1, np.uint64)
        for position in range(_SHINGLE_WORDS):
            mixed = (mixed ^ values[position : len(values) - _SHINGLE_WORDS + 1 + position]) * factors[position]
            mixed ^= mixed >> np.uint64(29)
        distinct = np.unique(mixed)
        parts.append(distinct)
        starts[number + 1] = starts[number] + len(distinct)
    return np.concatenate(parts), starts


def _without_boilerplate(
    shingles: NDArray[np.uint64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Runs that more than half of the texts have are left out, where a text has others."""
    import numpy as np

    count = len(starts) - 1
    if count < _BOILERPLATE_MIN_TEXTS:
        return shingles, starts
    values, times = np.unique(shingles, return_counts=True)
    boilerplate = values[times > _BOILERPLATE * count]
    own = ~np.isin(shingles, boilerplate)
    lengths = np.add.reduceat(own, starts[:-1], dtype=np.int64)
    own |= np.repeat(lengths == 0, np.diff(starts))  # nothing but form: compared by that
    lengths = np.add.reduceat(own, starts[:-1], dtype=np.int64)
    return shingles[own], np.concatenate(([0], np.cumsum(lengths)))


def _signatures(shingles: NDArray[np.uint64], starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """[texts, hashes]: of each hash function the smallest value over the text's runs."""
    import numpy as np

    random = np.random.default_rng(1)
    odd = random.integers(1 << 63, size=_HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    out = np.empty((len(starts) - 1, _HASHES), np.uint32)
    first = 0
    while first < len(out):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _BLOCK, side="right")) - 1)
        block = shingles[starts[first] : starts[last]]
        for number in range(_HASHES):
            hashed = ((block ^ odd[number]) * odd[number - 1]) >> np.uint64(32)
            out[first:last, number] = np.minimum.reduceat(hashed, starts[first:last] - starts[first])
        first = last
    return out


def _candidates(signatures: NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
    """Pairs of texts that share a band and agree in enough of the other hashes too."""
    import numpy as np

    seen: set[tuple[int, int]] = set()
    for band in range(0, _HASHES, _BAND_ROWS):
        keys = np.ascontiguousarray(signatures[:, band : band + _BAND_ROWS]).view(f"V{4 * _BAND_ROWS}").ravel()
        _, band_ids, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(band_ids, kind="stable")
        ends = np.cumsum(sizes)
        for end, size in zip(ends[sizes > 1], sizes[sizes > 1], strict=True):
            members = order[end - size : end]
            for _ in range(_MAX_ROUNDS):
                if len(members) < 2:
                    break
                first, rest = members[0], members[1:]
                # Seven hashes of a hundred off is one standard deviation at 0.8; three are given.
                close = (signatures[rest] == signatures[first]).mean(1) >= MIN_SIMILARITY - 0.15
                for second in rest[close]:
                    pair = (int(first), int(second))
                    if pair not in seen:
                        seen.add(pair)
                        yield pair
                members = rest[~close]


def _jaccard(shingles: NDArray[np.uint64], starts: NDArray[np.int64], first: int, second: int) -> float:
    import numpy as np

    one, other = (shingles[starts[text] : starts[text + 1]] for text in (first, second))
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
