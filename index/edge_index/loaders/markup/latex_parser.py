"""One pass over the tokens of LaTeX: words become what they stand for, groups become text, headings are marked."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict

from edge.text.latex import symbol
from edge_index.loaders.markup.latex_commands import (
    ACCENTS,
    ARGUMENTS_DROPPED,
    FIRST_DROPPED,
    MATH_ENVIRONMENTS,
    SECTIONS,
    STATEMENTS,
    WITH_ARGUMENTS,
)

# Private characters that no source holds: verbatim text, a heading's beginning (its level behind it) and end.
HELD = "\ue000"
_HEADING, _HEADING_END, _LEVEL = "\ue001", "\ue002", 0xE010
_TOKEN = re.compile(
    r"\\(?:[A-Za-z@]++\*?|.)|\$\$?|[{}\[\]~&^_]|\n[ \t]*\n\s*|[ \t\n]+|``|''|---?|[^\\${}\[\]~&\s`'^_-]+|.", re.DOTALL
)
_MARKED = re.compile(f"{_HEADING}(.)([^{_HEADING_END}]*){_HEADING_END}|{HELD}", re.DOTALL)
_PLAIN = {"~": " ", "``": "“", "''": "”", "--": "–", "---": "—"}
_SPACES = frozenset(r"\  \, \; \: \> \quad \qquad".split(" "))


class LatexParser:
    """Source on its way to text. `macros` are the user's own words without arguments."""

    def __init__(self, macros: dict[str, str]) -> None:
        self._macros = macros
        self._out: list[str] = []

    def read(self, source: str, first_group: bool = False) -> str:
        """Read `source`, or only its first group, behind what was read before; the text so far, unfinished."""
        self._tokens = _TOKEN.findall(source)
        self._partners = _partners(self._tokens)
        self._closing: defaultdict[int, str] = defaultdict(str)
        self._environments: list[str] = []
        self._dollars = False
        at, end = 0, len(self._tokens)
        if first_group:
            end = self._partners.get(next((i for i, token in enumerate(self._tokens) if token == "{"), -1), 0) + 1
        while at < end:
            at = self._step(at)
        return "".join(self._out)

    def result(self, held: list[str]) -> tuple[str, list[tuple[int, int, str]]]:
        """The finished text and its headings (position, level, title); `held` fills the marks, in order."""
        text = "".join(self._out)
        text = re.sub(r"[ \t]*\n[ \t]*", "\n", re.sub(r"[ \t]+", " ", text))
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        pieces, headings, length, at = [], [], 0, 0
        waiting = iter(held)
        for mark in _MARKED.finditer(text):
            title = " ".join((mark[2] or "").split())
            before = text[at : mark.start()]
            length += len(before)
            if mark[0] != HELD:
                headings.append((length, ord(mark[1]) - _LEVEL, title))
            piece = title if mark[0] != HELD else f"```\n{next(waiting, '')}\n```"
            pieces += [before, piece]
            length += len(piece)
            at = mark.end()
        return "".join([*pieces, text[at:]]), headings

    def _math(self) -> bool:
        return self._dollars or any(name in MATH_ENVIRONMENTS for name in self._environments[-8:])

    def _step(self, at: int) -> int:
        """Read the token at `at`; where the next one is."""
        token = self._tokens[at]
        if token.startswith("\\") and len(token) > 1:
            return self._command(at, token[1:].rstrip("*") or "*")
        write = self._out.append
        if token == "}":
            write(self._closing.pop(at, ""))
        elif token in ("$", "$$"):
            self._dollars = not self._dollars
        elif token == "&":
            write(" " if self._math() else " | ")
        elif token in "^_" and self._math():
            write(token)
            group = self._partners.get(at + 1, 0) if self._token(at + 1) == "{" else 0
            if self._compound(at + 1, group):
                write("(")
                self._closing[group] += ")"
        elif token.isspace():
            write("\n\n" if token.count("\n") > 1 else " ")
        elif token != "{":
            write(token if self._math() else _PLAIN.get(token, token))
        return at + 1

    def _command(self, at: int, name: str) -> int:
        write = self._out.append
        after = at + 1
        if name in ("(", "[", ")", "]"):
            self._dollars = name in "(["
        elif name in ("begin", "end"):
            return self._environment(after, name)
        elif name == "\\" or name in ("newline", "linebreak", "tabularnewline", "cr"):
            write("\n")
            return self._skip(after, 0)
        elif "\\" + name in _SPACES or name in ("par", "bigskip", "medskip", "smallskip"):
            write(" " if "\\" + name in _SPACES else "\n\n")
        elif name in ACCENTS and not self._math():
            return self._accent(after, ACCENTS[name])
        elif len(name) == 1 and not name.isalpha():
            write("" if name in "-/!@*'`^\"=.<>+" else "‖" if name == "|" else name)
        elif name in SECTIONS:
            mark = f"\n\n{_HEADING}{chr(_LEVEL + SECTIONS[name])}"
            return self._group(self._skip(after, 0), mark, f"{_HEADING_END}\n\n")
        elif name == "def":
            return self._definition(after)
        elif name in ARGUMENTS_DROPPED:
            return self._skip(after, ARGUMENTS_DROPPED[name])
        elif name in FIRST_DROPPED:
            return self._skip(after, FIRST_DROPPED[name])
        elif name == "item":
            write("\n- ")
        elif name in ("footnote", "thanks"):
            return self._group(self._skip(after, 0), " (", ")")
        elif name == "caption":
            return self._group(self._skip(after, 0), "\n\n", "\n\n")
        elif "cite" in name:
            return self._group(self._skip(after, 0), "[", "]")
        elif name in ("frac", "dfrac", "tfrac", "binom"):
            return self._fraction(after, "/" if name != "binom" else " over ")
        elif name == "sqrt":
            return self._group(self._skip(after, 0), "√(", ")")
        elif name in ("left", "right", "displaystyle", "limits", "nolimits"):
            return after
        else:
            return self._word(after, name)
        return after

    def _word(self, after: int, name: str) -> int:
        """A symbol, a word of the user's or one that is not known, which goes, while its arguments stay."""
        sign = symbol(name) or ""
        if len(sign) > 1 and not self._math():  # no \arg of a formula, but a command of the document's own
            sign = ""
        text = self._macros.get(name) or sign
        if not text and self._token(after) == "[":
            return self._skip(after, 0)
        self._out.append(text)
        blank = self._token(after)
        swallowed = not self._math() and blank.isspace() and blank.count("\n") < 2
        # Without its braces a switch of fonts ("\it so") leaves no blank behind.
        return after + 1 if swallowed and name not in self._macros else after

    def _environment(self, after: int, which: str) -> int:
        end = self._partners.get(after)
        if end is None or self._token(after) != "{":
            return after
        name = "".join(self._tokens[after + 1 : end]).strip().rstrip("*")
        inline = name == "math"
        self._out.append("" if inline else "\n" if name in MATH_ENVIRONMENTS else "\n\n")
        if which == "end":
            if name in self._environments[-64:]:
                while self._environments.pop() != name:
                    pass
            return end + 1
        self._environments.append(name)
        if name == "abstract":
            self._out.append(f"{_HEADING}{chr(_LEVEL + SECTIONS['section'])}Abstract{_HEADING_END}\n\n")
        elif name in STATEMENTS:
            self._out.append(f"{name.capitalize()}. ")
        elif name == "frame" and self._token(end + 1) == "{":
            return self._group(end + 1, f"{_HEADING}{chr(_LEVEL + SECTIONS['frametitle'])}", f"{_HEADING_END}\n\n")
        return self._skip(end + 1, WITH_ARGUMENTS.get(name, 0))

    def _accent(self, after: int, mark: str) -> int:
        """The accent on the letter behind it, in braces or not."""
        at = after
        while self._token(at) == "{" or self._token(at).isspace():
            at += 1
        token = self._token(at)
        if token in (r"\i", r"\j"):  # without their dot
            token = token[1:]
        if not token or not token[0].isalpha():
            return after
        self._out.append(unicodedata.normalize("NFC", token[0] + mark) + token[1:])
        return at + 1

    def _fraction(self, after: int, sign: str) -> int:
        first = self._blank(after)
        end = self._partners.get(first)
        second = self._blank(end + 1) if end is not None else 0
        last = self._partners.get(second)
        if self._token(first) != "{" or end is None or self._token(second) != "{" or last is None:
            return after
        a, b = self._compound(first, end), self._compound(second, last)
        self._out.append("(" * a)
        self._closing[end] += ")" * a + sign + "(" * b
        self._closing[last] += ")" * b
        return first + 1

    def _compound(self, start: int, end: int) -> bool:
        """Whether the group is more than one sign, so that it needs brackets where its braces go."""
        inner = self._tokens[start + 1 : min(end, start + 3)]
        return len(inner) > 1 or any(len(token) > 1 and not token.startswith("\\") for token in inner)

    def _group(self, after: int, before: str, behind: str) -> int:
        """The group at `after` is read between these two; without one, nothing is."""
        at = self._blank(after)
        end = self._partners.get(at)
        if self._token(at) != "{" or end is None:
            return after
        self._out.append(before)
        self._closing[end] += behind
        return at + 1

    def _definition(self, after: int) -> int:
        for at in range(after, min(after + 20, len(self._tokens))):
            if self._tokens[at] == "{":
                return self._partners.get(at, at) + 1
        return after

    def _skip(self, after: int, groups: int) -> int:
        """Behind the arguments: optional ones, and `groups` in braces."""
        at = after
        while True:
            start = self._blank(at)
            token = self._token(start)
            if token == "[" and start == at and start in self._partners:
                at = self._partners[start] + 1
            elif groups and token == "{" and start in self._partners:
                at = self._partners[start] + 1
                groups -= 1
            elif groups and token.startswith("\\") and token != "\\\\":  # \newcommand\name{…}
                at = start + 1
                groups -= 1
            else:
                return at

    def _blank(self, at: int) -> int:
        """Behind a blank, if there is one."""
        return at + 1 if self._token(at).isspace() and self._token(at).count("\n") < 2 else at

    def _token(self, at: int) -> str:
        return self._tokens[at] if at < len(self._tokens) else ""


def _partners(tokens: list[str]) -> dict[int, int]:
    """Opening bracket or brace -> the one that closes it."""
    found: dict[int, int] = {}
    open_: list[int] = []
    for at, token in enumerate(tokens):
        if token in ("{", "["):
            open_.append(at)
        elif token == "]" and open_ and tokens[open_[-1]] == "[":
            found[open_.pop()] = at
        elif token == "}":
            while open_ and tokens[open_[-1]] == "[":
                open_.pop()
            if open_:
                found[open_.pop()] = at
    return found
