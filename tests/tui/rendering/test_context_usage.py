"""The context as a bar: the numbers add up, nothing that is there vanishes, and what was left out is said."""

from __future__ import annotations

import pytest

from edge.types import ContextUsage, Dropped
from edge_tui.rendering.context_usage import left_out, meter, parts, shares


def test_the_parts_are_the_whole_context() -> None:
    context_usage = ContextUsage(4096, 20, 300, 500, 40, 512)
    assert sum(part.tokens for part in parts(context_usage)) == 4096
    assert len({part.sign for part in parts(context_usage)}) == len(parts(context_usage))


@pytest.mark.parametrize(
    ("tokens", "width"),
    [([20, 0, 500, 40, 512, 3024], 60), ([1, 1, 1, 1, 1, 100_000], 20), ([1, 1, 1], 2), ([5], 7), ([3, 3, 3], 10)],
)
def test_a_bar_is_as_wide_as_it_is_to_be(tokens: list[int], width: int) -> None:
    cells = shares(tokens, width)
    assert sum(cells) == width
    assert all(cell == 0 for cell, count in zip(cells, tokens, strict=True) if count == 0)
    if width >= len(tokens):
        assert all(cell > 0 for cell, count in zip(cells, tokens, strict=True) if count)


def test_nothing_to_show_is_no_bar() -> None:
    assert shares([0, 0], 10) == [0, 0]
    assert shares([1, 2], 0) == [0, 0]
    assert meter(10, 0) == ""


def test_the_meter_is_never_empty_when_something_is_used() -> None:
    assert meter(1, 100_000) == "█░░░░"
    assert meter(0, 4096) == "░░░░░"
    assert meter(9999, 4096) == "█████"


def test_what_was_left_out_in_words() -> None:
    assert left_out(ContextUsage(10, 1, 1, 1, 1, 1)) == "Nothing was left out."
    sentence = left_out(
        ContextUsage(10, 1, 1, 1, 1, 1, (Dropped("2 earlier\x1b turns", 1312), Dropped("1 passage", 90)))
    )
    assert (
        sentence == "Left out, because there was no room: 2 earlier\\x1b turns (1,312 tokens); 1 passage (90 tokens)."
    )
