"""What `/sampling` understands."""

from __future__ import annotations

import pytest

from edge.errors import UsageError
from edge.types import Sampling
from edge_tui.session.sampling import changed, completed, rows

FIRST = Sampling(max_tokens=9)


def test_words_change_what_they_name_and_nothing_else() -> None:
    line = "temperature=0.7, top_p=0.9 top-k=5 min_p=0 REPEAT_PENALTY=1.2 seed=42 max_tokens=100"
    wanted = Sampling(0.7, 0.9, 5, 0, 1.2, seed=42, max_tokens=100, stop=("x",))
    now = changed(Sampling(stop=("x",)), line, FIRST)
    assert now == wanted
    assert changed(now, "seed=none", FIRST).seed is None
    assert changed(now, "", FIRST) == now
    assert changed(now, "default", FIRST) == FIRST


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("temperature=9", "temperature must be a number from 0 to 5, as in temperature=0.7"),
        ("temperature=nan", "temperature must be a number from 0 to 5"),
        ("temperature=-1", "from 0 to 5"),
        ("top_p=warm", "top_p must be a number from 0 to 1"),
        ("top_k=2.5", "top_k must be a whole number of 0 or more"),
        ("max_tokens=0", "max_tokens must be a whole number of 1 or more"),
        ("repeat_penalty=0.5", "from 1 to 2"),
        ("seed=x", "or none"),
        ("seed", "seed has no value"),
        ("warmth=1", "there is no warmth to set; write key=value with one of: temperature, top_p"),
        ("temperature=0.5 top_p=2", "top_p must be"),
    ],
)
def test_a_wrong_value_is_said_with_what_is_allowed(line: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        changed(Sampling(), line, FIRST)
    assert said in str(error.value)


def test_what_is_set_can_be_sent_back() -> None:
    now = Sampling(temperature=0.25, seed=7, max_tokens=12)
    line = " ".join(key for key, _ in rows(now))
    assert changed(Sampling(), line, FIRST) == now
    assert "seed=none" in [key for key, _ in rows(Sampling())]


def test_the_last_word_is_completed() -> None:
    assert completed("temp") == ["temperature="]
    assert completed("seed=1 to") == ["seed=1 top_p=", "seed=1 top_k="]
    assert "default" in completed("")
    assert completed("seed=") == []
