"""LaTeX: what a reader of the typeset page would read, about: sections as headings, formulas as readable text."""

from __future__ import annotations

import re
from pathlib import Path

from edge_index.loaders.extracted import Extracted
from edge_index.loaders.headings import sections
from edge_index.loaders.markup.latex_commands import VERBATIM
from edge_index.loaders.markup.latex_parser import HELD, LatexParser
from edge_index.loaders.plain.text import decode

# Comments and verbatim text are told apart in one pass: each may hold what begins the other.
_APART = re.compile(
    r"\\begin\{(?P<name>"
    + "|".join(VERBATIM)
    + r")(?P<star>\*?)\}(?:\[[^\]\n]{0,300}\])?(?:\{[^}\n]{0,300}\})?[ \t]*\n"
    r"|\\[\\%]|%[^\n]*\n?[ \t]*"
)
_BODY = re.compile(r"\\begin\s*\{document\}")
_MACRO = re.compile(r"\\(?:(?:re)?newcommand|providecommand|def)\*?\s*\{?\\([A-Za-z]+)\}?\s*\{([^{}]{0,200})\}")
_TITLE = re.compile(r"\\title\s{0,9}(?:\[[^\]\n]{0,300}\])?\s{0,9}(?=\{)")
_INCLUDES = re.compile(r"\\(?:input|include|subfile)\s*\{([^{}\n]{1,200})\}")
_OURS = re.compile("[\ue000-\ue0ff]")


def load(path: Path, data: bytes) -> Extracted:
    source = _OURS.sub(" ", decode(path, data).replace("\r\n", "\n").replace("\r", "\n"))
    source, held = _hold_verbatim(source)
    body = _BODY.search(source)
    macros = {name: name for name in ("LaTeX", "TeX", "today")}
    macros |= {name: LatexParser({}).read(text).strip() for name, text in _MACRO.findall(source)}
    parser = LatexParser(macros)
    title = _TITLE.search(source)
    if title:
        parser.read(r"\edgetitle" + source[title.end() :], first_group=True)
    parser.read(source[body.end() :] if body else source)
    text, headings = parser.result(held)
    others = list(dict.fromkeys(_INCLUDES.findall(source)))
    note = f"it includes other files, which are read only if they are added too: {', '.join(others[:5])}"
    return Extracted(text, sections(headings, len(text)), notes=(note,) if others else ())


def _hold_verbatim(source: str) -> tuple[str, list[str]]:
    """The source without comments and with marks for its verbatim text, and that text."""
    parts: list[str] = []
    held: list[str] = []
    at = 0
    while match := _APART.search(source, at):
        parts.append(source[at : match.start()])
        at = match.end()
        if match["name"]:
            end = source.find(f"\\end{{{match['name']}{match['star']}}}", at)
            end = len(source) if end < 0 else end
            held.append(source[at:end].rstrip("\n"))
            parts.append(f"\n\n{HELD}\n\n")
            at = end
        elif match[0].startswith("\\"):
            parts.append(match[0])
    parts.append(source[at:])
    return "".join(parts), held
