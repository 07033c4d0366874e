"""The Markdown that models write: the parser of everything on the screen, and what can be taken out of a text by it.

As GitHub's, but `<tags>` are text (models write List<int>) and formulas between $…$, $$…$$, \\(…\\), \\[…\\] or in a
LaTeX environment of their own become text by `maths.readable`. They are rules of the parser, so that code stays code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_tui.rendering import math

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

# \[1\] is a citation and no formula. A dollar sign opens one as in pandoc: no space inside, no word outside.
# None holds the beginning of another one of its kind: a thousand that are never closed are not searched to the end.
_FORMULA = re.compile(
    r"\$\$(?P<shown>[^$]{1,2000}?)\$\$"
    r"|\\\[(?!\d+\\\])(?P<block>(?:\\\\(?!\])|(?!\\[\[\]]).){1,2000}?)\\\]"
    r"|\\\((?P<inline>(?:(?!\\[()]).){1,2000}?)\\\)"
    r"|\\begin\{(?P<name>equation|align|gather|multline|eqnarray)\*?\}(?P<body>.{1,2000}?)\\end\{(?P=name)\*?\}"
    r"|(?<![\w$\\])\$(?=[^\s$])(?P<dollar>[^$\n]{1,300}?)(?<=[^\s\\])\$(?![\w$])",
    re.DOTALL,
)
# "$HOME/$USER" and "from $5 to $" are none.
_LOOKS_LIKE_MATHS = re.compile(r"[\\^_{}=+<>*≤≥≠±·×∈]|^-?[\w.,]+$|^[A-Za-z]\([A-Za-z]\)$|^\w\s?[-/]\s?\w$")


def parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("gfm-like", {"html": False})
    made.inline.ruler.before("escape", "formula", _inline)
    made.block.ruler.before("fence", "formula", _block, {"alt": ["paragraph", "list"]})
    return made


def code_blocks(text: str) -> tuple[str, ...]:
    """What stands in the blocks of code of `text`, in order, as it would be pasted: without the last line's end."""
    wanted = ("fence", "code_block")
    return tuple(token.content.removesuffix("\n") for token in parser().parse(text) if token.type in wanted)


def formulas(text: str) -> list[tuple[int, int]]:
    """Where formulas stand in `text`, code included; nothing may be put between their characters."""
    return [found.span() for found in _FORMULA.finditer(text) if _inner(found) is not None]


def _inner(found: re.Match[str]) -> str | None:
    """The formula without its delimiters, None if it is none after all."""
    dollar = found["dollar"]
    if dollar is not None and not _LOOKS_LIKE_MATHS.search(dollar):
        return None
    return next(found[name] for name in ("shown", "block", "inline", "body", "dollar") if found[name] is not None)


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    found = _FORMULA.match(state.src, state.pos, state.posMax)
    inner = _inner(found) if found else None
    if found is None or inner is None:
        return False
    if not silent:
        for number, line in enumerate(math.readable(inner).split("\n")):
            if number:
                state.push("hardbreak", "br", 0)
            state.push("text", "", 0).content = line
    state.pos = found.end()
    return True


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula over several lines is one paragraph, whatever its lines begin with."""
    begin = state.bMarks[start] + state.tShift[start]
    if state.is_code_block(start) or state.parentType == "blockquote":
        return False
    if not state.src.startswith(("$$", "\\[", "\\begin{"), begin):
        return False
    found = _FORMULA.match(state.src, begin, state.eMarks[end - 1])
    if found is None:
        return False
    last = next(line for line in range(start, end) if found.end() <= state.eMarks[line])
    if last == start:
        return False
    if not silent:
        state.line = last + 1
        opening = state.push("paragraph_open", "p", 1)
        opening.map = [start, state.line]
        inline = state.push("inline", "", 0)
        inline.content = state.src[begin : state.eMarks[last]]
        inline.map = [start, state.line]
        inline.children = []
        state.push("paragraph_close", "p", -1)
    return True
