"""Prompt look-up: guesses the next tokens from what followed the same words before, as long as that pays.

A reply that quotes its passages repeats their tokens. A guess costs nothing; checking n of them in one batch costs
less than n steps. The idea: Saxena, "Prompt Lookup Decoding", 2023; the choice of the length by expectation is ours.
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 7
"""Tokens that are guessed at once: with the one before them a batch of eight, the largest that pays anywhere."""

_SHORTEST_MATCH, _LONGEST_KEY, _LONGEST_MATCH = 2, 3, 8
_GAIN = 1.05
"""What a batch must promise over single steps: expectations err."""
_CHANCES = {2: 0.3, 3: 0.5, 4: 0.65, 5: 0.75, 6: 0.8, 7: 0.85, 8: 0.9}
_MARGINAL = 0.25
"""What a further row of a batch is believed to cost, in single steps, until batches of that size were timed: less than
it mostly does, so that each size is tried."""


class Pace:
    """What guesses are worth with this model on this machine; lives as long as the engine.

    For every length of match it knows how often the next token was the guessed one. That is seen on every token, also
    where nothing was guessed, so that guessing begins again by itself when it would pay. For every number of rows it
    knows what a batch costs: matrix routines take rows in fours or eights, so that eight may cost less than five.
    """

    def __init__(self) -> None:
        # Hits and tries by length of match: a prior worth a few tokens, replaced by what is seen.
        self._hits = {n: 6.0 * share for n, share in _CHANCES.items()}
        self._tries = dict.fromkeys(_CHANCES, 6.0)
        self._single: float | None = None
        self._costs = {rows: _believed(rows) for rows in range(1, LONGEST + 2)}
        self._timed = dict.fromkeys(self._costs, 0)

    def chance(self, match: int) -> float:
        """That the token after a match of so many tokens is the one that followed it before."""
        match = min(match, _LONGEST_MATCH)
        return self._hits[match] / self._tries[match]

    def cost(self, rows: int) -> float:
        """Time of a batch of `rows` tokens, in single steps."""
        return self._costs[rows]

    def length(self, match: int, room: int = LONGEST) -> int:
        """How many tokens, at most `room`, to guess after a match of `match` tokens: most tokens for the time, 0 for
        none."""
        best, longest = _GAIN, 0
        chance = expected = 1.0
        for guesses in range(1, min(room, LONGEST) + 1):
            chance *= self.chance(match + guesses - 1)
            expected += chance
            if expected / self.cost(1 + guesses) > best:
                best, longest = expected / self.cost(1 + guesses), guesses
        self._doubt(1 + longest)
        return longest

    def saw(self, match: int, hit: bool) -> None:
        match = min(match, _LONGEST_MATCH)
        self._hits[match] = 0.97 * self._hits[match] + hit
        self._tries[match] = 0.97 * self._tries[match] + 1

    def took(self, rows: int, seconds: float) -> None:
        """A batch of `rows` tokens took that long. One slow moment of the machine moves the picture only a little."""
        if rows == 1:
            single = seconds if self._single is None else min(seconds, 2 * self._single)
            self._single = single if self._single is None else 0.9 * self._single + 0.1 * single
        elif self._single is not None:
            self._timed[rows] += 1
            share = max(0.1, 1 / (1 + self._timed[rows]))
            cost = min(max(seconds / self._single, 1.0), 2.0 * rows)
            self._costs[rows] += share * (cost - self._costs[rows])

    def _doubt(self, chosen: int) -> None:
        """Costs of batches that are not made are forgotten slowly: they may stem from a bad moment."""
        for rows in self._costs:
            if rows != chosen:
                self._costs[rows] += 0.01 * (_believed(rows) - self._costs[rows])


def _believed(rows: int) -> float:
    return 1.0 + _MARGINAL * (rows - 1)


class Drafter:
    """The tokens of one conversation so far, prompt first, and what they say about the next ones."""

    def __init__(self, tokens: Iterable[int], pace: Pace) -> None:
        self._pace = pace
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self._append(token)

    def spoke(self, token: int) -> None:
        """The reply went on with `token`."""
        at, match = self._find()
        if match:
            self._pace.saw(match, self._tokens[at] == token)
        self._append(token)

    def draft(self, room: int) -> list[int]:
        """At most `room` tokens that may come next; none where guessing would not pay."""
        at, match = self._find()
        if not match:
            return []
        return self._tokens[at : at + self._pace.length(match, room)]

    def _append(self, token: int) -> None:
        # What ends here can be found from now on, for now something follows it.
        for size in range(_SHORTEST_MATCH, _LONGEST_KEY + 1):
            if len(self._tokens) >= size:
                self._after[tuple(self._tokens[-size:])] = len(self._tokens)
        self._tokens.append(token)

    def _find(self) -> tuple[int, int]:
        """Where the last occurrence of the end goes on, longest key first, and how many tokens before it agree."""
        tokens = self._tokens
        for size in range(_LONGEST_KEY, _SHORTEST_MATCH - 1, -1):
            at = self._after.get(tuple(tokens[-size:]))
            if at is not None:
                while size < _LONGEST_MATCH and size < at and tokens[at - 1 - size] == tokens[-1 - size]:
                    size += 1
                return at, size
        return 0, 0
