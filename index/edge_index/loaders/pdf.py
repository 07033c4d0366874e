"""PDF: the text layer of each page, with the lines of a paragraph joined again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DocumentError
from edge_index.loaders import Extracted, Section

if TYPE_CHECKING:
    import pypdfium2

_BULLETS = ("•", "◦", "▪", "‣", "●", "○", "- ", "– ", "* ")
_ENDS = (".", "!", "?", ":", "…", "。", "！", "？")
_CLOSERS = "\"'”’»)]"
# PDFium's marks for a hyphen that stands only because the line ends: the old one and the new one.
_LINE_HYPHENS = ("\x02", "\ufffe")


def load(path: Path, data: bytes) -> Extracted:
    parts: list[str] = []
    sections: list[Section] = []
    position = pages = 0
    for text in _pages(path, data):
        pages += 1
        if text:
            sections.append(Section(position, position + len(text), None, pages))
            parts.append(text)
            position += len(text) + 2
    if not parts:
        raise DocumentError(
            f"{path} has no text layer (it was scanned, or drawn); make one first: ocrmypdf in.pdf out.pdf"
        )
    return Extracted("\n\n".join(parts), tuple(sections), pages)


def _pages(path: Path, data: bytes) -> Iterator[str]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
        try:
            for number in range(len(document)):
                yield reflow(_page_text(document, number))
        finally:
            document.close()
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise DocumentError(
                f"{path} is protected by a password; remove it first: qpdf --decrypt --password=… in.pdf out.pdf"
            ) from error
        raise DocumentError(
            f"{path} is a damaged PDF ({error}); download it again or repair it: qpdf in.pdf out.pdf"
        ) from error


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    try:
        layer = page.get_textpage()
        try:
            return str(layer.get_text_bounded())
        finally:
            layer.close()
    finally:
        page.close()


def reflow(text: str) -> str:
    """The text of a page without the ends of its lines: paragraphs with a blank line between, words whole."""
    text = text.replace("\x00", "")
    for mark in _LINE_HYPHENS:
        text = text.replace(mark, "\x02\n")
    lines = [" ".join(line.split(" ")).strip() for line in text.splitlines()]
    lengths = sorted(len(line) for line in lines if line)
    # Lines longer than this are outliers: a table's row, a footer in small print.
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    result = ""
    previous = ""
    for line in lines:
        if not line:
            previous = ""
            continue
        if result:
            result += _border(previous, line, width)
        result = result.removesuffix("\x02") + line
        previous = line
    return result.removesuffix("\x02")


def _border(previous: str, line: str, width: int) -> str:
    """What stands between two lines that follow one another."""
    if not previous:
        return "\n\n"
    if previous.endswith("\x02"):
        return ""
    if line.startswith(_BULLETS):
        return "\n"
    ended = previous.rstrip(_CLOSERS).endswith(_ENDS)
    if len(previous) < width * 0.8 and (ended or (len(previous) < width * 0.6 and not line[0].islower())):
        return "\n\n"
    if _is_cjk(previous[-1]) and _is_cjk(line[0]):
        return ""
    return " "


def _is_cjk(character: str) -> bool:
    """Whether it belongs to a script that writes no blanks between words (kana, Han and their punctuation)."""
    return "\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"
