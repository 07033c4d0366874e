"""Prompt look-up's logic, against brute force and against the arithmetic of what pays."""

from __future__ import annotations

import random

from edge.engines.llamacpp.lookup import LONGEST, Drafter, Pace


def eager() -> Pace:
    """One that has seen guesses come true."""
    pace = Pace()
    for match in range(2, 9):
        for _ in range(50):
            pace.saw(match, True)
    return pace


def continuation(tokens: list[int]) -> list[int]:
    """What followed the last earlier occurrence of the last three tokens, else of the last two; by brute force."""
    for size in (3, 2):
        for at in range(len(tokens) - 1, size - 1, -1):
            if tokens[at - size : at] == tokens[-size:]:
                return tokens[at:]
    return []


def test_a_draft_is_what_followed_the_last_time() -> None:
    chosen = random.Random(1)
    tokens = [chosen.randrange(6) for _ in range(300)]
    drafter = Drafter(tokens[:4], eager())
    drafted = 0
    for end in range(4, len(tokens)):
        expected = continuation(tokens[:end])
        draft = drafter.draft(3)
        assert draft == expected[: len(draft)]
        if len(expected) >= 3:
            assert len(draft) <= 3
        drafted += bool(draft)
        drafter.spoke(tokens[end])
    assert drafted > 50


def test_the_longer_key_wins_over_the_newer_one() -> None:
    assert Drafter([1, 2, 3, 7, 7, 7, 9, 2, 3, 8, 8, 8, 1, 2, 3], eager()).draft(1) == [7]
    assert Drafter([1, 2, 3, 7, 7, 7, 9, 2, 3, 8, 8, 8, 5, 2, 3], eager()).draft(1) == [8]


def test_nothing_is_guessed_without_a_match_or_without_room() -> None:
    assert Drafter(range(50), eager()).draft(6) == []
    assert Drafter([1, 2, 3, 4, 1, 2], eager()).draft(0) == []
    assert Drafter([], eager()).draft(6) == []
    assert Drafter([1], eager()).draft(6) == []


def test_guesses_that_fail_end_and_begin_again_when_they_would_come_true() -> None:
    pace = eager()
    assert pace.length(8) == LONGEST
    for _ in range(200):
        for match in range(2, 9):
            pace.saw(match, False)
    assert [pace.length(match) for match in range(2, 9)] == [0] * 7
    # Nothing is computed for this: what would have been guessed is held against what came.
    phrase = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    drafter = Drafter(phrase, pace)
    assert drafter.draft(LONGEST) == []
    for token in phrase * 12:
        drafter.spoke(token)
    assert len(drafter.draft(LONGEST)) == LONGEST


def timed(pace: Pace, costs: dict[int, float], times: int) -> None:
    for _ in range(times):
        pace.took(1, 0.010)
        for rows, cost in costs.items():
            pace.took(rows, 0.010 * cost)


def test_a_batch_that_costs_as_much_as_its_tokens_is_not_worth_it() -> None:
    pace = eager()
    timed(pace, {rows: float(rows) for rows in range(2, LONGEST + 2)}, 100)
    assert pace.length(8) == 0
    timed(pace, {LONGEST + 1: 2.0}, 100)
    assert pace.length(8) == LONGEST


def test_each_size_of_a_batch_is_judged_by_its_own_time() -> None:
    """The times of a model of 1.5 B parameters in q8_0, where four and eight rows are cheap and five are not."""
    pace = eager()
    timed(pace, {2: 1.2, 3: 1.25, 4: 1.42, 5: 2.15, 6: 2.34, 7: 2.72, 8: 2.06}, 30)
    assert pace.length(8) == 7
    assert pace.length(8, room=6) == 3


def test_one_slow_moment_is_forgotten() -> None:
    pace = eager()
    timed(pace, {rows: 9.0 * rows for rows in range(2, LONGEST + 2)}, 60)
    assert pace.length(8) == 0
    assert any(pace.length(8) for _ in range(400))


def test_the_length_is_the_best_of_all() -> None:
    """Against the expectation written out, for many mixes of chances."""
    chosen = random.Random(2)
    for _ in range(100):
        pace = Pace()
        for match in range(2, 9):
            share = chosen.random()
            for _ in range(60):
                pace.saw(match, chosen.random() < share)
        match = chosen.randrange(2, 9)

        def rate(guesses: int, pace: Pace = pace, match: int = match) -> float:
            expected, chance = 1.0, 1.0
            for i in range(guesses):
                chance *= pace.chance(match + i)
                expected += chance
            return expected / pace.cost(guesses + 1)

        best = max(range(LONGEST + 1), key=rate)
        assert pace.length(match) == (best if rate(best) > 1.05 else 0)
