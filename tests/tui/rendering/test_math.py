"""Formulas as people read them in a terminal, and what only looks like one."""

from __future__ import annotations

import pytest

from edge_tui.rendering.markdown import code_blocks, formulas, parser
from edge_tui.rendering.math import readable


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"x^2 + y_1", "x² + y₁"),
        (r"E = mc^2", "E = mc²"),
        (r"\alpha \le \beta \neq \infty", "α ≤ β ≠ ∞"),
        (r"\frac{a}{b}", "a/b"),
        (r"\frac12", "1/2"),
        (r"\frac{a+b}{2c}", "(a+b)/(2c)"),
        (r"x = \frac{-b \pm \sqrt{b^2-4ac}}{2a}", "x = (−b ± √(b²−4ac))/(2a)"),
        (r"\sqrt[3]{8} = \sqrt4", "³√8 = √4"),
        (r"\sum_{i=1}^{n} x_i", "∑ᵢ₌₁ⁿ xᵢ"),
        (r"\int_0^\infty e^{-x}\,dx", "∫₀^∞ e⁻ˣ dx"),
        (r"\lim_{x \to 0} \frac{\sin x}{x}", "lim_(x → 0) (sin x)/x"),
        (r"\text{speed} = \frac{\text{way}}{t}", "speed = way/t"),
        (r"\mathbb{R}^n", "ℝⁿ"),
        (r"\hat{y} + \overline{x}", "ŷ + x\u0305"),
        (r"90^\circ", "90°"),
        (r"10\%", "10%"),
        (r"\left( \frac{1}{2} \right)^2", "( 1/2 )²"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "(1 2; 3 4)"),
        (r"\begin{aligned} a &= b \\ c &= d^2 \end{aligned}", "a = b\nc = d²"),
        (r"\binom{n}{k}", "C(n, k)"),
        (r"x_{max}", "xₘₐₓ"),
        (r"P^{Q}_{wq}", "P^Q_(wq)"),
        (r"a \ne b \hspace*{1em} \Re z", "a ≠ b ℜz"),
        (r"\unknown{x}", r"\unknown{x}"),
        (r"\input{/etc/passwd}", r"\input{/etc/passwd}"),
        (r"\today", r"\today"),
    ],
)
def test_a_formula_reads_as_text(latex: str, text: str) -> None:
    assert readable(latex) == text


@pytest.mark.parametrize("latex", ["{" * 1900, r"\frac" * 300, "x^" * 900, r"\begin{x}", "^", "\\", r"\left", "}", "&"])
def test_what_is_broken_stays_text(latex: str) -> None:
    assert readable(latex)


def shown(markdown: str) -> list[str]:
    """The text of every paragraph, cell and block of code."""
    out = []
    for token in parser().parse(markdown):
        if token.type == "inline":
            parts = {"hardbreak": "\n", "softbreak": " "}
            out.append("".join(parts.get(child.type, child.content) for child in token.children or ()))
        elif token.type == "fence":
            out.append(token.content)
    return out


@pytest.mark.parametrize(
    ("markdown", "paragraphs"),
    [
        (r"It is $x^2$ and \(\alpha\).", ["It is x² and α."]),
        ("Then:\n\\[\n- y = x^2\n\\]\nDone.", ["Then:", "− y = x²", "Done."]),
        ("$$\na\n= b\n$$", ["a = b"]),
        ("\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}", ["a = b\nc = d"]),
        ("- item:\n  \\[\n  x = 1\n  \\]\n- next", ["item:", "x = 1", "next"]),
        ("a|b\n-|-\n$x_1$|\\(y^2\\)", ["a", "b", "x₁", "y²"]),
        ("*The area is $x^2$.*", ["The area is x²."]),
        ("$a*b*c$ and *em*", ["a*b*c and em"]),
        ("`$x^2$`", ["$x^2$"]),
        ("```\n$x^2$\n```", ["$x^2$\n"]),
        ("It costs $5 and $6, or $20-$30.", ["It costs $5 and $6, or $20-$30."]),
        ("$HOME/$USER", ["$HOME/$USER"]),
        ("US$5 = A$7", ["US$5 = A$7"]),
        ("so [\\[1\\]](#source-1)", ["so [1]"]),
        ("not yet: $x^2 and", ["not yet: $x^2 and"]),
        ("List<int> is", ["List<int> is"]),
    ],
)
def test_formulas_in_markdown(markdown: str, paragraphs: list[str]) -> None:
    assert shown(markdown) == paragraphs


def test_where_formulas_stand() -> None:
    text = r"It is $x^2$ for \[y = 1.\] $5 and $6."
    assert [text[low:high] for low, high in formulas(text)] == ["$x^2$", r"\[y = 1.\]"]


def test_blocks_of_code_are_what_would_be_pasted() -> None:
    text = "One:\n\n```python\nprint(1)\n\nprint(2)\n```\n\n- two:\n  ~~~\n  x\n  ~~~\n\n```\nstill open"
    assert code_blocks(text) == ("print(1)\n\nprint(2)", "x", "still open")
    assert code_blocks("none, only `inline`") == ()
