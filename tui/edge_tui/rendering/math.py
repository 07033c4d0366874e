"""LaTeX formulas as text that a terminal can show: x^2 becomes x², \\frac{a}{b} becomes a/b.

Symbols come from `edge.text.latex`, accents and alphabets from pylatexenc; what a terminal has no character for stays
readable as it was typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from edge.text.latex import symbol

LONGEST = 2000
"""Characters of a formula; anything longer is no formula but a text with dollar signs in it."""

_DEEPEST = 40
_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\s+|.", re.DOTALL)
_ALONE = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_][^\w\s]?[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ₀-₉′]*|[^\W\d_]{3,}|∞|√?\([^()]*\)|√\w")
_UP = str.maketrans(
    "0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWαβγδεθφχ′'",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵅᵝᵞᵟᵋᶿᵠᵡ′′",
)
_DOWN = str.maketrans(
    "0123456789+-−=()aehijklmnoprstuvxβγρφχ",
    "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ",
)
_SPACES = dict.fromkeys(("\\,", "\\;", "\\:", "\\ ", "\\enskip", "\\quad", "\\qquad", "~"), " ") | {"\\!": ""}
_BARE = {  # the argument alone says it
    *("text", "textrm", "textbf", "textit", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "boldsymbol", "bm"),
    *("operatorname", "operatorname*", "boxed", "fbox", "underline", "mbox", "displaystyle", "textstyle"),
}
_SIZES = {"left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "middle", "limits", "nolimits"}
_ACCENTS = {"hat", "bar", "vec", "dot", "ddot", "tilde", "check", "breve", "acute", "grave"}
_BRACKETS = {"pmatrix": "()", "bmatrix": "[]", "vmatrix": "||", "Vmatrix": "‖‖", "Bmatrix": "{}", "matrix": "[]"}


def readable(latex: str) -> str:
    """`latex`, a formula without its delimiters, as text of one or more lines. It never fails."""
    if len(latex) > LONGEST:
        return latex
    lines = _Reader(latex).sequence().split("\n")
    text = "\n".join(re.sub(r" {2,}", " ", line).strip() for line in lines).strip()
    return text or latex.strip()


class _Reader:
    """One pass from left to right; every method takes what it understands and returns its text."""

    def __init__(self, latex: str) -> None:
        self._tokens = _TOKEN.findall(latex)
        self._at = 0
        self._deep = 0

    def sequence(self, end: str = "") -> str:
        """Everything up to the token `end`, which is taken too, or up to the end of the formula."""
        out: list[str] = []
        while (token := self._next()) is not None and token != end:
            if token in "^_":
                out.append(_script(self._argument(), up=token == "^"))
            else:
                out.append(self._meaning(token))
        return "".join(out)

    def _next(self) -> str | None:
        if self._at >= len(self._tokens):
            return None
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _peek(self, further: int = 0) -> str:
        at = self._at + further
        return str(self._tokens[at]) if at < len(self._tokens) else ""

    def _argument(self) -> str:
        """A group in braces, or the next token."""
        while self._peek().isspace():
            self._at += 1
        token = self._next()
        return "" if token is None else self._meaning(token)

    def _meaning(self, token: str) -> str:
        if token.isspace():
            return " "
        if token in _SPACES:
            return _SPACES[token]
        if token in ("\\\\", "\\cr"):
            return "\n"
        self._deep += 1
        try:
            if self._deep > _DEEPEST:
                return token
            if token == "{":
                return self.sequence("}")
            return (
                self._macro(token[1:]) if len(token) > 1 else {"&": " ", "-": "−", "'": "′", "}": ""}.get(token, token)
            )
        finally:
            self._deep -= 1

    def _macro(self, name: str) -> str:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            above, below = self._argument(), self._argument()
            return f"{_whole(above)}/{_whole(below)}" if above or below else f"\\{name}"
        if name in ("binom", "dbinom", "tbinom"):
            return f"C({self._argument()}, {self._argument()})"
        if name == "sqrt":
            root = _script(self._bracketed(), up=True)
            inner = self._argument()
            return f"{'' if root == '^' else root}√{inner if len(inner) == 1 else f'({inner})'}"
        if name.rstrip("*") in ("hspace", "vspace"):
            self._argument()
            return " "
        if name == "begin":
            return self._environment()
        if name in _SIZES:
            return self._delimiter() if name in ("left", "right", "middle") else ""
        if name in _BARE:
            return self._argument() if name not in ("displaystyle", "textstyle") else ""
        if not name[:1].isalpha():  # \{ \% \| and their like
            return "‖" if name == "|" else name
        if name == "overline":
            return "".join(f"{letter}\u0305" for letter in self._argument())
        return self._from_table(name)

    def _bracketed(self) -> str:
        if self._peek() != "[":
            return ""
        self._at += 1
        return self.sequence("]")

    def _delimiter(self) -> str:
        """What stands behind \\left or \\right; a dot is none."""
        token = self._argument()
        return "" if token == "." else token

    def _environment(self) -> str:
        name = self._argument().rstrip("*")
        if name == "array":
            self._argument()  # the columns
        inside: list[str] = []
        while (token := self._next()) is not None and token != "\\end":
            if token in "^_":
                inside.append(_script(self._argument(), up=token == "^"))
            else:
                inside.append(self._meaning(token))
        self._argument()
        rows = [re.sub(r"\s+", " ", row).strip() for row in "".join(inside).split("\n")]
        rows = [row for row in rows if row]
        if name in _BRACKETS:
            return f"{_BRACKETS[name][0]}{'; '.join(rows)}{_BRACKETS[name][1]}"
        if name == "cases":
            return "{ " + "; ".join(rows)
        return "\n".join(rows)

    def _from_table(self, name: str) -> str:
        known = symbol(name)
        if known is None:
            styled = _styled(name)
            if styled is not None:
                return styled(self._argument())
            return f"\\{name}{{{self._argument()}}}" if self._peek() == "{" else f"\\{name}"
        # A letter next to the name of a function would read as one word: sin x, not sinx.
        apart = known.isalpha() and len(known) > 1 and (self._peek().isalnum() or self._peek()[:1] == "\\")
        if len(known) == 1 and known.isalpha() and self._peek().isspace() and self._peek(1).isalnum():
            self._at += 1  # the space only ended the name
        return f"{known} " if apart else known


def _script(text: str, *, up: bool) -> str:
    table, sign = (_UP, "^") if up else (_DOWN, "_")
    text = text.strip()
    if up and text in ("∘", "°", "′", "′′", "∗"):
        return {"∘": "°", "∗": "*"}.get(text, text)
    small = text.translate(table)
    if text and all(a != b for a, b in zip(text, small, strict=True)):
        return small
    return sign + (text if len(text) < 2 else f"({text})")


def _whole(text: str) -> str:
    """A part of a fraction: in parentheses unless it is one thing."""
    text = text.strip()
    return text if _ALONE.fullmatch(text) else f"({text})"


@lru_cache(maxsize=64)
def _styled(name: str) -> Callable[[str], str] | None:
    """What pylatexenc makes of the argument of an accent or an alphabet; None for any other command."""
    if not (name.startswith("math") or name in _ACCENTS):
        return None
    from pylatexenc.latex2text import LatexNodes2Text, get_default_latex_context_db

    if not callable(getattr(get_default_latex_context_db().get_macro_spec(name), "simplify_repl", None)):
        return None
    writer = LatexNodes2Text()
    return lambda letter: str(writer.latex_to_text(f"\\{name}{{{letter}}}")) if len(letter) == 1 else letter
