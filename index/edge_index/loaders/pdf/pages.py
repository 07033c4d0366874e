"""PDF: the text layer of each page in reading order, with the lines of a paragraph joined again."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DocumentError
from edge_index.loaders.blocks import silent
from edge_index.loaders.extracted import Extracted, Section
from edge_index.loaders.pdf.layout import Box, lines, reading_order, upright

if TYPE_CHECKING:
    import pypdfium2

_BULLETS = ("•", "◦", "▪", "‣", "●", "○", "- ", "– ", "* ")
_ENDS = (".", "!", "?", ":", "…", "。", "！", "？")
# A page with more pieces of lines is a drawing or a map.
_MOST_BOXES = 2000
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\xad]$")
_CLOSERS = "\"'”’»)]"
# PDFium's marks for a hyphen that stands only because the line ends: the old one and the new one.
_LINE_HYPHENS = ("\x02", "\ufffe")


def load(path: Path, data: bytes) -> Extracted:
    parts: list[str] = []
    sections: list[Section] = []
    without: list[int] = []
    position = pages = 0
    for text in _pages(path, data):
        pages += 1
        if text:
            sections.append(Section(position, position + len(text), None, pages))
            parts.append(text)
            position += len(text) + 2
        else:
            without.append(pages)
    if not parts:
        raise DocumentError(
            f"{path} has no text layer (it was scanned, or drawn); make one first: ocrmypdf in.pdf out.pdf"
        )
    notes = silent("page", without, "scanned?")
    return Extracted("\n\n".join(parts), tuple(sections), pages, notes=notes)


def _pages(path: Path, data: bytes) -> Iterator[str]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
        try:
            for number in range(len(document)):
                yield _page_text(document, number)
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
            return _joined(_blocks(layer) or [str(layer.get_text_bounded())])
        finally:
            layer.close()
    finally:
        page.close()


def _joined(blocks: list[str]) -> str:
    """Columns and what stands between them as one text; a sentence may go on in the next column."""
    text = ""
    broken = False  # inside a word
    for block in blocks:
        flowing = reflow(block)
        if text and flowing:
            goes_on = flowing[0].islower() and not text.endswith(_ENDS)
            text += "" if broken else " " if goes_on else "\n\n"
        text += flowing
        broken = block.rstrip().endswith(_LINE_HYPHENS)
    return text


def _blocks(layer: pypdfium2.PdfTextPage) -> list[str]:
    """The lines in reading order, block by block, where that is not how they were drawn; else nothing.

    PDFium joins what is drawn one after another at the same height: across columns, and all of a sideways text.
    """
    count = layer.count_rects()
    if not 1 < count <= _MOST_BOXES:
        return []
    turns = _quarter_turns(layer)
    rects = [layer.get_rect(number) for number in range(count)]
    if not all(math.isfinite(value) for rect in rects for value in rect):
        return []
    blocks = reading_order([upright(rect, turns, number) for number, rect in enumerate(rects)])
    ranks = [box.number for block in blocks for box in block]
    if not turns and ranks == sorted(ranks):
        return []
    return _hyphens_marked(
        [[_line(layer, [(box, rects[box.number]) for box in line]) for line in lines(block)] for block in blocks]
    )


def _hyphens_marked(blocks: list[list[str]]) -> list[str]:
    """Blocks of lines as texts, with PDFium's mark for hyphens at line ends, which it sets only where it sees one."""
    following = [*[line for block in blocks for line in block][1:], ""]
    texts = []
    at = 0
    for block in blocks:
        pairs = zip(block, following[at:], strict=False)
        texts.append("\n".join(_HYPHEN.sub("\x02", a) if b[:1].islower() else a for a, b in pairs))
        at += len(block)
    return texts


def _line(layer: pypdfium2.PdfTextPage, pieces: list[tuple[Box, tuple[float, float, float, float]]]) -> str:
    text = ""
    right = 0.0
    for box, rect in pieces:
        piece = str(layer.get_text_bounded(*rect)).strip("\r\n")
        apart = text and box.left - right > 0.1 * box.height and not text.endswith(" ") and not piece.startswith(" ")
        text += " " + piece if apart else piece
        right = box.right
    return text.strip()


def _quarter_turns(layer: pypdfium2.PdfTextPage) -> int:
    """How most of the text is turned: 0 runs right, 1 down, 2 left, 3 up. PDFium gives the angle clockwise."""
    from pypdfium2 import raw

    count = layer.count_chars()
    angles = [raw.FPDFText_GetCharAngle(layer.raw, at) for at in range(0, count, max(1, count // 32))]
    turns = Counter(round(angle / (math.pi / 2)) % 4 for angle in angles if angle >= 0)
    return turns.most_common(1)[0][0] if turns else 0


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
