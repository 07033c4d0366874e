"""The next token from logits, with the meaning and in the order of llama.cpp's samplers."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from edge.types import Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def log_probability(logits: NDArray[np.float32], token: int) -> float:
    """The natural logarithm of the probability that `logits` [vocabulary] give a token."""
    import numpy as np

    shifted = logits.astype(np.float64) - logits.max()
    return float(shifted[token] - np.log(np.exp(shifted).sum()))


class Sampler:
    """Chooses the tokens of one reply.

    Repeat penalty over the last `repeat_last` tokens of the reply, then top_k, top_p, min_p, temperature, and a draw.
    Drawing is done by Gumbel-max: the argmax of log-probabilities plus Gumbel noise is a draw from them.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._last: deque[int] = deque(maxlen=max(sampling.repeat_last, 0))
        self._random: np.random.Generator | None = None
        if sampling.temperature > 0:
            import numpy as np

            self._random = np.random.default_rng(sampling.seed if sampling.seed is None else sampling.seed % 2**64)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next token, for logits [vocabulary]: minus infinity where a token may not follow."""
        return int(self.scores(logits).argmax())

    def accept(self, token: int) -> None:
        """Tell which token was taken."""
        self._last.append(token)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores [vocabulary] whose maximum is the token to take; `logits` may be changed."""
        self._penalise(logits)
        if self._random is None:
            return logits
        kept = self._kept(logits)
        noise = self._random.gumbel(size=len(kept))
        drawn = logits[kept] / self._sampling.temperature + noise
        logits.fill(-math.inf)
        logits[kept] = drawn
        return logits

    def _penalise(self, logits: NDArray[np.float32]) -> None:
        penalty = self._sampling.repeat_penalty
        if penalty == 1.0 or not self._last:
            return
        import numpy as np

        seen = np.array(list(set(self._last)))
        values = logits[seen]
        logits[seen] = np.where(values > 0, values / penalty, values * penalty)

    def _kept(self, logits: NDArray[np.float32]) -> NDArray[np.intp]:
        """The tokens that may be drawn, most probable first."""
        import numpy as np

        s = self._sampling
        kept = np.arange(len(logits))
        if 0 < s.top_k < len(logits):
            kept = np.argpartition(logits, -s.top_k)[-s.top_k :]
        kept = kept[np.argsort(-logits[kept], kind="stable")]
        if s.top_p < 1.0:
            weights = np.exp((logits[kept] - logits[kept[0]]).astype(np.float64))
            mass = np.cumsum(weights / weights.sum())
            kept = kept[: int(np.searchsorted(mass, s.top_p)) + 1]
        if s.min_p > 0.0:
            kept = kept[logits[kept] >= logits[kept[0]] + math.log(s.min_p)]
        return kept
