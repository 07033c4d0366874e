"""The text inside JSON as GBNF: literals, ranges of whole numbers, and regular expressions that a string must match."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

CHARACTER = (
    '[^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | '
    '"u" ([0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))'
)
"""One character of a JSON string; escapes of half a character (surrogates) are left out."""

_CATEGORIES = {"CATEGORY_DIGIT": "0-9", "CATEGORY_WORD": "a-zA-Z0-9_", "CATEGORY_SPACE": " "}


class PatternError(ValueError):
    """Why a regular expression cannot be followed: the end of a sentence."""


def literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def whole_numbers(low: int, high: int) -> str:
    """Alternatives for the numbers from `low` to `high`, 0 <= low <= high."""
    return " | ".join(_digits(str(start), str(end)) for start, end in _spans(low, high))


def _spans(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Pieces of the range in which every digit runs through its own range."""
    while low <= high:
        zeros = 0  # how many last digits may run from 0 to 9
        while low % 10 ** (zeros + 1) == 0 and low and low + 10 ** (zeros + 1) - 1 <= high:
            zeros += 1
        unit = 10**zeros
        last = low // unit % 10
        steps = min(9 - last, (high - low + 1) // unit - 1)
        end = low + (steps + 1) * unit - 1
        yield low, end
        low = end + 1


def _digits(start: str, end: str) -> str:
    return " ".join(f'"{a}"' if a == b else f"[{a}-{b}]" for a, b in zip(start, end, strict=True))


def of_pattern(pattern: str) -> str:
    """A term for the strings in which `pattern` is found, as jsonschema finds it: anywhere unless it is anchored.

    Raises PatternError.
    """
    parser = importlib.import_module("re._parser")  # the tree that Python's own regular expressions are made of
    try:
        tree = list(parser.parse(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"which is no regular expression ({error})") from error
    before = after = "character* "
    if tree and _name(tree[0]) == "AT" and str(tree[0][1]).startswith("AT_BEGINNING"):
        before, tree = "", tree[1:]
    if tree and _name(tree[-1]) == "AT" and str(tree[-1][1]).startswith("AT_END"):
        after, tree = "", tree[:-1]
    return f"({before}{_sequence(tree)} {after})"


def _name(node: Any) -> str:
    return str(node[0])


def _sequence(nodes: Any) -> str:
    return " ".join(map(_node, nodes)) or '""'


def _node(node: Any) -> str:
    kind, value = _name(node), node[1]
    match kind:
        case "LITERAL":
            return _one(value)
        case "NOT_LITERAL":
            return _class(True, _escaped(value), [value])
        case "ANY":
            return _class(True, "", [])
        case "IN":
            return _set(list(value))
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, inner = value
            unlimited = most == importlib.import_module("re._constants").MAXREPEAT
            return f"({_sequence(inner)}){{{least},{'' if unlimited else most}}}"
        case "SUBPATTERN":
            if value[1] or value[2]:
                raise PatternError("whose flags a grammar cannot express; leave them out")
            return f"({_sequence(value[3])})"
        case "BRANCH":
            return f"({' | '.join(map(_sequence, value[1]))})"
    raise PatternError(f"whose {kind.lower().replace('_', ' ')} a grammar cannot express; simplify it")


def _one(code: int) -> str:
    if code < 0x20 or code == 0x7F:
        raise PatternError("which asks for a control character; leave it out")
    if chr(code) in '"\\':  # JSON writes a backslash before it
        return '"\\\\\\""' if code == 0x22 else '"\\\\\\\\"'
    return literal(chr(code))


def _set(items: list[Any]) -> str:
    negated = bool(items) and _name(items[0]) == "NEGATE"
    inside, codes = "", []
    for item in items[1:] if negated else items:
        kind, value = _name(item), item[1]
        if kind == "LITERAL":
            inside += _escaped(value)
            codes.append(value)
        elif kind == "RANGE":
            inside += f"{_escaped(value[0])}-{_escaped(value[1])}"
            codes += [code for code in b'"\\' if value[0] <= code <= value[1]]
        elif kind == "CATEGORY" and str(value) in _CATEGORIES:
            inside += _CATEGORIES[str(value)]
        else:
            raise PatternError("whose set a grammar cannot express; simplify it")
    if negated and any(_name(item) == "CATEGORY" for item in items):
        # Python's categories hold letters and digits of all scripts; ours would let those through.
        raise PatternError("whose set a grammar cannot express; simplify it")
    return _class(negated, inside, codes)


def _class(negated: bool, inside: str, codes: list[int]) -> str:
    """One character of a class; a quote and a backslash, which JSON escapes, stand outside of it."""
    if negated:
        return f'[^{inside}"\\\\\\x00-\\x1F\\x7F]'
    if not any(code in codes for code in b'"\\'):
        return f"[{inside}]"
    raise PatternError("whose set holds a quote or a backslash; leave it out")


def _escaped(code: int) -> str:
    """A character inside of a class."""
    if code < 0x20 or code == 0x7F:
        raise PatternError("which asks for a control character; leave it out")
    return f"\\x{code:02X}" if code < 0x80 else chr(code)
