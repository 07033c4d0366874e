"""The shapes of lines that open a definition, by family of programming languages."""

from __future__ import annotations

import re
from dataclasses import dataclass

# They look like a call or a function but are statements.
NOT_NAMES = frozenset(
    "if for while switch catch return else do try new throw throws await yield sizeof typeof defined elif elsif "
    "unless until foreach using lock with case when match function fn class super this assert delete in of and or not "
    "synchronized constructor_ finally".split()
)


@dataclass(frozen=True, slots=True)
class Outline:
    """Patterns for a line, each with whether what it defines holds definitions; groups make the name."""

    patterns: tuple[tuple[re.Pattern[str], bool], ...]
    only_outside: bool = False
    """Whether only lines without indentation define anything."""


def outline_for(suffix: str) -> Outline | None:
    """The outline of files with this suffix, None where there is none."""
    for suffixes, outline in _OUTLINES:
        if suffix in suffixes.split():
            return outline
    return None


def _outline(*patterns: tuple[str, bool], only_outside: bool = False) -> Outline:
    return Outline(
        tuple(
            (re.compile(pattern if pattern.startswith("^") else r"\s*" + pattern), holds) for pattern, holds in patterns
        ),
        only_outside,
    )


_WORDS = (
    r"(?:(?:export|default|declare|pub(?:\([\w: ]*\))?|public|private|protected|internal|fileprivate|open|static|final|"
    r"abstract|sealed|partial|virtual|override|inline|constexpr|extern|unsafe|async|const|data|case|implicit|lazy|"
    r"suspend|operator|infix|tailrec|inner|companion|annotation|value|readonly|mutating|external|local|native|"
    r"synchronized|strictfp|mut|typedef|base|mixin|extern\s*\"\w*\")\s+)*"
)
_TYPES = (
    _WORDS + r"(?:class|struct|interface|enum(?:\s+class)?|trait|namespace|record|object|protocol|extension|"
    r"module|union|actor|package|mod|contract|library|mixin)\s+([A-Za-z_$][\w$.:]*)[^;]*$",
    True,
)
_FUNCTIONS = (
    _WORDS + r"(?:fn|func|fun|def|function\s*\*?|sub|proc|macro)\s+(?:<[^>]*>\s*)?([A-Za-z_$][\w$.:?!]*)",
    False,
)
_RUST_IMPL = (r"(?:unsafe\s+)?impl\b(?:<[^{]*?>)?\s+(?:[^{]*?\bfor\s+)?&?([A-Za-z_]\w*)", True)
_GO_METHOD = (r"func\s+\(\s*(?:\w+\s+)?\*?(\w+)[^)]*\)\s*(\w+)", False)
_GO_TYPE = (r"type\s+(\w+)\s+(?:struct|interface)\b", False)
# A return type, a name, arguments, and no semicolon: a body follows here or on the next line.
_TYPED = (
    r"(?!return\b|else\b|new\b|throw\b|case\b|goto\b|await\b|using\b|typedef\b)"
    r"(?:[A-Za-z_@][\w<>,.:\[\]*&?@~]*+\s++[*&]*+)+([A-Za-z_~][\w:~]*)\s*\([^;{}=]*(?:\)[^;{}=()]*)?(?:\{.*)?$",
    False,
)
# As the old hands write C: the type on a line of its own, the name at its very beginning.
_NAME_FIRST = (r"^([A-Za-z_]\w*)\s*\([^;{}=\"]*$", False)
# A constructor or a method of JavaScript: only with its opening brace.
_METHOD = (
    r"(?=[^\r\n]*[{}]\s*$)"
    + _WORDS
    + r"(?:get\s+|set\s+|\*\s*)?(#?[A-Za-z_$][\w$]*)\s*(?:<[^>]*>\s*)?\([^;]*\)\s*(?::[^;{()]{1,80})?"
    r"(?:throws\s[\w., ]+)?\{[^{}]*\}?\s*$",
    False,
)
_ARROW = (
    r"(?:export\s+)?(?:const|let|var)\s+([\w$]+)\s*(?::[^=]+)?=\s*(?:async\s*)?"
    r"(?:function\b|\([^)]*\)\s*(?::[^=]+)?=>|[\w$]+\s*=>)",
    False,
)

_OUTLINES: tuple[tuple[str, Outline], ...] = (
    (".js .mjs .cjs .jsx .ts .tsx .vue .svelte", _outline(_TYPES, _FUNCTIONS, _ARROW, _METHOD)),
    (".go", _outline(_GO_METHOD, _FUNCTIONS, _GO_TYPE)),
    (".rs", _outline(_RUST_IMPL, _TYPES, _FUNCTIONS, (r"macro_rules!\s*(\w+)", False))),
    (".c .h", _outline(_TYPED, _TYPES, _NAME_FIRST)),
    (".cc .cpp .cxx .hh .hpp .cs .java .dart", _outline(_TYPED, _TYPES, _METHOD)),
    (".kt .kts .scala .gradle .swift .php .zig .nim .jl .cmake .ps1", _outline(_TYPES, _FUNCTIONS)),
    (
        ".rb .ex .exs",
        _outline(
            (r"(?:class|module|defmodule|defprotocol|defimpl)\s+([A-Z][\w:.]*)", True),
            (r"(?:def|defp|defmacro)\s+(?:self\.)?([a-z_]\w*[?!=]?)", False),
        ),
    ),
    (
        ".lua",
        _outline((r"(?:local\s+)?function\s+([\w.:]+)", False), (r"(?:local\s+)?([\w.]+)\s*=\s*function\b", False)),
    ),
    (".pl .pm", _outline((r"sub\s+(\w+)", False))),
    (".r", _outline((r"([\w.]+)\s*(?:<-|=)\s*function\s*\(", False))),
    (
        ".sh .bash .zsh .fish",
        _outline((r"(?:function\s+)?([\w:.-]+)\s*\(\s*\)", False), (r"function\s+([\w:.-]+)", False)),
    ),
    (
        ".sql",
        _outline(
            (
                r"(?i:create)\s+(?i:or\s+replace\s+)?(?i:temp(?:orary)?\s+|unique\s+|materialized\s+|virtual\s+)*"
                r"(?i:table|view|function|procedure|index|trigger|type|schema)\s+(?i:if\s+not\s+exists\s+)?([\w.\"`\[\]]+)",
                False,
            ),
            only_outside=True,
        ),
    ),
    (".proto", _outline((r"(?:message|service|enum)\s+(\w+)", True), (r"rpc\s+(\w+)", False))),
    (".tf", _outline((r"(\w+)\s+\"([^\"]+)\"(?:\s+\"[^\"]+\")?\s*\{", False), only_outside=True)),
    (
        ".ml .fs",
        _outline((r"module\s+(?:rec\s+)?([\w.]+)", True), (r"(?:let(?:\s+rec)?|and|type)\s+([a-z_]\w*)", False)),
    ),
    (
        ".hs",
        _outline(
            (r"([a-z_][\w']*)\s*::", False), (r"(?:data|newtype|class|type)\s+([A-Z]\w*)", False), only_outside=True
        ),
    ),
    (
        ".clj",
        _outline(
            (r"\((?:defn-?|defmacro|defmulti|defmethod|defprotocol|def|ns)\s+([^\s()\[\]]+)", False), only_outside=True
        ),
    ),
    (".erl", _outline((r"([a-z]\w*)\([^)]*\)\s*(?:when\b.*)?->", False), only_outside=True)),
)
