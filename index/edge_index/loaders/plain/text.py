"""Plain text: bytes -> characters in whatever encoding they are, and nothing else changed."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from edge.errors import DocumentError
from edge_index.loaders.extracted import Extracted

# UTF-32 before UTF-16: the little-endian mark of the one begins with that of the other.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What text files without a mark are really in, the most usual first. Left to choose among all that Python
# knows, the detection takes a short French text for EBCDIC.
_LEGACY = (
    "cp1252 cp1251 cp1250 cp1253 cp1254 cp1255 cp1256 cp1257 koi8_r cp932 euc_jp iso2022_jp gb18030 big5 cp949 cp874"
).split()
# Control characters that no text holds; tab, line feed, form feed, backspace, escape and the like it may.
_BINARY = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_NEWLINE = re.compile(r"\r\n?|\n")


def load(path: Path, data: bytes) -> Extracted:
    return Extracted(decode(path, data))


def decode(path: Path, data: bytes) -> str:
    """The characters of a text file, without a byte order mark; newlines stay as they are.

    Tried in turn: the mark, UTF-8, and what charset-normalizer makes of it. Raises DocumentError for what is
    not text.
    """
    text = _decode(path, data)
    strange = len(_BINARY.findall(text))
    if "\x00" in text or strange * 100 > len(text):
        raise _not_text(path)
    return text


def _decode(path: Path, data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise _not_text(path) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if b"\x00" in data:
        raise _not_text(path)
    import charset_normalizer

    matches = charset_normalizer.from_bytes(data, cp_isolation=_LEGACY)
    best = matches.best()
    if best is None:
        raise _not_text(path)
    # A short text often fits several equally well: then the most usual one.
    equal = {
        match.encoding
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence) and match.encoding in _LEGACY
    }
    return data.decode(min(equal or {best.encoding}, key=_LEGACY.index))


def decode_anyhow(data: bytes) -> str:
    """The characters of a piece of a document that is text by what surrounds it; what fits nowhere is replaced."""
    try:
        return _decode(Path(), data)
    except DocumentError:
        return data.decode("utf-8", "replace")


def _not_text(path: Path) -> DocumentError:
    return DocumentError(
        f"{path} is not text (its bytes are of no known encoding); save it as UTF-8 or give it its true suffix"
    )


class Lines:
    """Line numbers of a text -> character positions. A line ends at CR LF, CR or LF, as in CommonMark."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]
        self._length = len(text)

    def start(self, line: int) -> int:
        """Where line `line`, counted from 0, begins; the end of the text behind the last one."""
        return self._starts[line] if line < len(self._starts) else self._length
