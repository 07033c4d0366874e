"""Signs of LaTeX against the names that Unicode gives them, and our own list against pylatexenc's."""

from __future__ import annotations

import unicodedata

import pytest
from pylatexenc.latex2text import get_default_latex_context_db

from edge.text.latex import by_hand, symbol


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("alpha", "GREEK SMALL LETTER ALPHA"),
        ("epsilon", "GREEK SMALL LETTER EPSILON"),
        ("phi", "GREEK SMALL LETTER PHI"),
        ("Omega", "GREEK CAPITAL LETTER OMEGA"),
        ("leq", "LESS-THAN OR EQUAL TO"),
        ("ne", "NOT EQUAL TO"),
        ("iff", "LONG LEFT RIGHT DOUBLE ARROW"),
        ("rightharpoonup", "RIGHTWARDS HARPOON WITH BARB UPWARDS"),
        ("hbar", "PLANCK CONSTANT OVER TWO PI"),
        ("ss", "LATIN SMALL LETTER SHARP S"),
        ("dh", "LATIN SMALL LETTER ETH"),
        ("S", "SECTION SIGN"),
        ("textperthousand", "PER MILLE SIGN"),
        ("lbrace", "LEFT CURLY BRACKET"),
    ],
)
def test_a_command_stands_for_its_sign(command: str, name: str) -> None:
    assert symbol(command) == unicodedata.lookup(name)


@pytest.mark.parametrize("command", ["today", "image", "section", "frac", "cite", "ref", "vspace", "quad", "mathbb"])
def test_what_is_set_or_computed_is_no_sign(command: str) -> None:
    assert symbol(command) is None


def test_only_what_pylatexenc_lacks_is_kept_by_hand() -> None:
    table = get_default_latex_context_db()
    theirs = {name: getattr(table.get_macro_spec(name), "simplify_repl", None) for name in by_hand()}
    assert not {name for name, text in by_hand().items() if theirs[name] == text}
