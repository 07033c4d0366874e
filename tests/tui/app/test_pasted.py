"""A pasted book is a few words in the input and whole again when it is sent."""

from __future__ import annotations

from edge_tui.app.input.pasted import LONGEST, Pasted


def test_short_texts_stay() -> None:
    assert Pasted().summary("a" * LONGEST) == "a" * LONGEST


def test_long_texts_come_back_whole_and_in_their_place() -> None:
    pasted = Pasted()
    first, second = "a" * (1024 * 1024), "b" * (1024 * 1024)
    one, two = pasted.summary(first), pasted.summary(second)
    assert one == "[pasted 1,048,576 characters]"
    assert two == "[pasted 1,048,576 characters #2]"
    assert pasted.summary(first) == one
    assert pasted.whole(f"Compare {one} with {two}!") == f"Compare {first} with {second}!"


def test_words_that_only_look_like_a_summary_are_left() -> None:
    assert Pasted().whole("[pasted 9,999 characters]") == "[pasted 9,999 characters]"
