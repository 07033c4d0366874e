"""Patterns as .gitignore has them, matched in time that no pattern and no name can blow up.

The rules are git's: https://git-scm.com/docs/gitignore and its wildmatch.c, with characters where git has bytes. A
pattern becomes a regular expression in which every `*` but the last takes the shortest way once and for all: an atomic
group, which is enough for patterns of this kind and leaves nothing to go back to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \t",
    "cntrl": "\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": " \t-\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_NEVER = r"(?!)"
_STARS = re.compile(r"\*+")
_NAMED = re.compile(r"\[:([^\]]*):\]")


class Patterns:
    """The lines of a .gitignore: the last one that fits a path decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = [pattern for line in lines if (pattern := _parse(line)) is not None]
        self._patterns.reverse()
        self._folders: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def verdict(self, path: str, folder: bool) -> bool | None:
        """Whether `path` itself, relative and with `/`, fits; None: no line says so or not."""
        name = path.rpartition("/")[2]
        for pattern in self._patterns:
            if (folder or not pattern.folders_only) and pattern.fits(path if pattern.whole else name):
                return not pattern.negated
        return None

    def cover(self, path: str, folder: bool) -> bool:
        """Whether `path` fits, or any folder around it, from which nothing comes back."""
        above = path.rpartition("/")[0]
        return bool((above and self._cover_folder(above)) or self.verdict(path, folder))

    def _cover_folder(self, path: str) -> bool:
        if path not in self._folders:
            self._folders[path] = self.cover(path, folder=True)
        return self._folders[path]


@dataclass(frozen=True, slots=True)
class _Pattern:
    """`whole`: it is held against the whole path, else against the last part of it."""

    expression: re.Pattern[str]
    whole: bool
    folders_only: bool
    negated: bool

    def fits(self, text: str) -> bool:
        return self.expression.fullmatch(text) is not None


def _parse(line: str) -> _Pattern | None:
    """None for a line that is blank or a comment."""
    text = _without_trailing_blanks(line)
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    text = text[negated:]
    folders_only = text.endswith("/")
    text = text[: len(text) - folders_only]
    whole = "/" in text
    text = text.removeprefix("/")
    return _Pattern(re.compile(_translate(text), re.DOTALL), whole, folders_only, negated) if text else None


def _without_trailing_blanks(line: str) -> str:
    """Blanks at the end go, unless a backslash stands before them."""
    text = line.rstrip(" ")
    backslashes = len(text) - len(text.rstrip("\\"))
    return text + " " if backslashes % 2 and len(text) < len(line) else text


def _translate(pattern: str) -> str:
    """A regular expression that matches what wildmatch with WM_PATHNAME does."""
    try:
        parts = list(_parts(pattern))
    except ValueError:
        return _NEVER
    # Between two `**` (or before the first, or behind the last) stand parts that go together.
    blocks: list[list[str]] = [[]]
    for part in parts:
        if part == "**/":
            blocks.append([])
        else:
            blocks[-1].append(part)
    translated = [_block(block) for block in blocks]
    inner = "".join(f"(?>(?:[^/]+/)*?{block})" for block in translated[1:-1])
    last = f"(?:[^/]+/)*?{translated[-1]}" if len(translated) > 1 else ""
    return translated[0] + inner + last


def _block(parts: list[str]) -> str:
    """The parts of a pattern without `**` between them; "*" is the star."""
    out, star, since = "", False, ""
    for part in [*parts, ""]:
        if part not in ("*", "/", ""):
            since += part
            continue
        # Only the last star before a slash or the end may have to give back what it took.
        if star:
            out += f"(?>[^/]*?{since})" if part == "*" else f"[^/]*{since}"
        else:
            out += since
        star, since = part == "*", ""
        out += "/" if part == "/" else ""
    return out


def _parts(pattern: str) -> Iterator[str]:
    """A regular expression for each character or set; "*", "/", and "**/" for any number of folders stand for
    themselves. Raises ValueError for a pattern that nothing fits.
    """
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            stars = _STARS.match(pattern, at)
            assert stars is not None
            begins = at == 0 or pattern[at - 1] == "/"
            at = stars.end()
            if len(stars[0]) > 1 and begins and pattern[at : at + 1] == "/":
                at += 1
                yield "**/"
            elif len(stars[0]) > 1 and begins and at == len(pattern):
                yield ".*"
            else:
                yield "*"
            continue
        if character == "[":
            expression, at = _set(pattern, at + 1)
            yield expression
            continue
        escaped, character, at = _character(pattern, at)
        if character == "?" and not escaped:
            yield "[^/]"
        else:
            yield "/" if character == "/" else re.escape(character)


def _set(pattern: str, at: int) -> tuple[str, int]:
    """The expression of a set in brackets whose inside begins at `at`, and where it ends. Raises ValueError."""
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    found, before, first = "", "", True
    while first or pattern[at : at + 1] != "]":
        first = False
        escaped, character, at = _character(pattern, at)
        named = _NAMED.match(pattern, at - 1) if character == "[" and not escaped else None
        if named:
            if named[1] not in _CLASSES:
                raise ValueError(f"there is no class {named[1]}")
            found, before, at = found + _CLASSES[named[1]], "", named.end()
        elif character == "-" and not escaped and before and pattern[at : at + 1] not in ("", "]"):
            _, last, at = _character(pattern, at)
            found += f"{re.escape(before)}-{re.escape(last)}" if before <= last else ""
            before = ""
        else:
            found += re.escape(character)
            before = character
    if not found:
        return "[^/]" if negated else _NEVER, at + 1
    return f"[^/{found}]" if negated else f"(?!/)[{found}]", at + 1


def _character(pattern: str, at: int) -> tuple[bool, str, int]:
    """Whether a backslash announces the next character, that character, and where it ends. Raises ValueError."""
    escaped = pattern[at : at + 1] == "\\"
    at += escaped
    if at >= len(pattern):
        raise ValueError("the pattern ends too early")
    return escaped, pattern[at], at + 1
