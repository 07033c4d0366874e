"""The one filter between everything foreign (names, documents, metadata, errors) and every terminal, and what may be
drawn on a terminal at all.

Nobody needs to call it to be safe: `guarded` stands around every command, `edge_tui.safe_console` around Rich, and
`edge_tui.app.control_filter` around the app. Who lays text out in columns or rows calls `visible_name` before.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

# Control characters but for tab and newline, line ends that are none in a terminal, what turns the direction of the
# text around (U+200E, U+200F and U+061C, which Urdu or Arabic text needs, only mark their own place), and halves of
# characters, by which Python spells the bytes of a file name that are no UTF-8.
_FOREIGN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BLANK = re.compile(r"[\r\x0b\x0c\x85\u2028\u2029]")
_DIRECTION = re.compile(r"[\u202a-\u202c\u2066-\u2069]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202d\u202e]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_STYLED = re.compile(r"((?:\x1b\[(?:1|2|22|[39][0-7])m)+)(.*)(\x1b\[0m)(\n?)", re.DOTALL)
"""What `click.secho` writes with the styles of ours."""


def visible(text: str) -> str:
    r"""`text` in which every character that could steer a terminal is spelled: `\x1b`, `\u009b`, `\u202e`.

    Tabs and newlines stay. Outside ASCII this is how JSON spells them: JSON remains what it was.
    """
    return _FOREIGN.sub(_spell, text)


def visible_name(text: str) -> str:
    r"""A name, a path or a cell in one row: as `visible`, and `\n` and `\t` are spelled, too."""
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def printable(text: str) -> str:
    """Running text with control characters replaced one by one, so that positions keep their meaning."""
    return _CONTROL.sub("\ufffd", _DIRECTION.sub("\u200b", _BLANK.sub(" ", text)))


def without_controls(text: str) -> str:
    """`text` without what could steer a terminal: for text that is laid out already, where those take no room."""
    return _FOREIGN.sub("", text)


def message(text: str) -> str:
    """A message that cannot be taken for two: its further lines, which a file name may have forged, are set in."""
    return visible(text).replace("\n", "\n      ")


def _spell(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}")


def draws(stream: TextIO) -> bool:
    """Whether a line on `stream` may be drawn again: it is a terminal, no dumb one, and NO_COLOR is not set."""
    return stream.isatty() and not _unstyled()


def styles(stream: TextIO) -> bool:
    """Whether what goes to `stream` may have colours: where it `draws`, or where FORCE_COLOR or CLICOLOR_FORCE asks.

    https://no-color.org, https://force-color.org, https://bixense.com/clicolors
    """
    if _unstyled():
        return False
    return stream.isatty() or any(
        os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")
    )


def is_dumb() -> bool:
    """Whether the terminal knows no escape sequence."""
    return os.environ.get("TERM") == "dumb"


def _unstyled() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("CLICOLOR") == "0" or is_dumb()


class SafeStream:
    """A text stream that spells what could steer the terminal behind it; only styles of our own pass, where wanted."""

    buffer = None
    """Nobody writes around the filter."""

    def __init__(self, unfiltered: TextIO) -> None:
        self.unfiltered = unfiltered

    def write(self, text: str | bytes) -> int:
        """Bytes are UTF-8: what click writes for a shell that completes a command comes so."""
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        if styled := _STYLED.fullmatch(text):
            begin, inner, end, newline = styled.groups()
            inner = visible(inner)
            self.unfiltered.write((begin + inner + end if styles(self.unfiltered) else inner) + newline)
        else:
            self.unfiltered.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def unfiltered(stream: TextIO) -> TextIO:
    """The stream behind the filter, for what draws with escape sequences of its own and filters what it shows."""
    return stream.unfiltered if isinstance(stream, SafeStream) else stream


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and standard error behind the filter.

    A terminal that cannot show a character of a document shows a question mark instead.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        getattr(stream, "reconfigure", _nothing)(errors="replace")
    sys.stdout, sys.stderr = (cast(TextIO, SafeStream(unfiltered(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _nothing(*, errors: str) -> None:
    """A stream that is no text file takes what it gets."""
