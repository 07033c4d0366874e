"""What the commands of LaTeX that take no argument stand for: pylatexenc's table, and by hand only what it lacks."""

from __future__ import annotations

from functools import cache

_LACKING = (
    "Im=ℑ P=¶ Re=ℜ S=§ EUR=€ bot=⊥ checkmark=✓ colon=: copyright=© degree=° euro=€ iff=⟺ implies=⟹ land=∧ lor=∨ "
    "models=⊨ ne=≠ neg=¬ pounds=£ slash=/ textbar=| textgreater=> textless=< textunderscore=_ triangle=△"
)
_FUNCTIONS = "Pr arg cot csc deg det dim gcd hom ker lg sec"
# Mistakes of pylatexenc's, and letters that are typed and searched for in their ordinary form.
_OTHERWISE = (
    "bullet=• diamond=⋄ epsilon=ε eth=ð hbar=ℏ phi=φ prime=′ textasciicircum=^ textperiodcentered=· texttildelow=~"
)
# The day of the conversion, and names of its list of signs that LaTeX does not know: a document's own commands.
_LEFT_OUT = ("today", "estimates", "image", "original", "recorder")


def symbol(name: str) -> str | None:
    """The sign or word that a command stands for, without its backslash; None for any other command.

    Args:
        name: The letters of the command.

    Example:
        >>> symbol("leq"), symbol("sin"), symbol("section")
        ('≤', 'sin', None)
    """
    return _symbols().get(name)


@cache
def by_hand() -> dict[str, str]:
    """What stands here and not in pylatexenc's table, or otherwise."""
    signs = dict(pair.split("=", 1) for pair in f"{_LACKING} {_OTHERWISE}".split())
    return {**signs, **{name: name for name in _FUNCTIONS.split()}, "mod": " mod ", "bmod": " mod "}


@cache
def _symbols() -> dict[str, str]:
    from pylatexenc.latex2text import get_default_latex_context_db

    table = get_default_latex_context_db()
    found: dict[str, str] = {}
    for macro in table.iter_macro_specs(["latex-base", "advanced-symbols"]):
        text = macro.simplify_repl
        # A text with a per cent sign is filled with arguments; what cannot be seen is about the setting of lines.
        if isinstance(text, str) and macro.macroname.isalpha() and "%" not in text and text.isprintable():
            found.setdefault(macro.macroname, text)
    for name in _LEFT_OUT:
        found.pop(name, None)
    return {name: text for name, text in found.items() if text.strip()} | by_hand()
