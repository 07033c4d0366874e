"""Word documents (.docx): headings, paragraphs, lists and tables in their order."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DocumentError
from edge_index.loaders import Extracted
from edge_index.loaders.blocks import Block, assemble

if TYPE_CHECKING:
    from docx.blkcntnr import BlockItemContainer
    from docx.document import Document
    from docx.table import Table
    from docx.text.paragraph import Paragraph

_OLE = b"\xd0\xcf\x11\xe0"  # old Word files, and new ones under a password
# python-docx unpacks the whole archive into memory, and XML takes ten times its size there.
_LARGEST_XML = 100 * 2**20
_LARGEST_ARCHIVE = 1000 * 2**20
_DEEPEST_TABLE = 8


def load(path: Path, data: bytes) -> Extracted:
    from docx import Document
    from docx.exceptions import PythonDocxError
    from docx.opc.exceptions import OpcError

    if data.startswith(_OLE):
        raise DocumentError(
            f"{path} is protected by a password or an old Word file; save it as .docx without a password"
        )
    try:
        _check_size(path, data)
        return assemble(_blocks(Document(io.BytesIO(data)), 0))
    except (zipfile.BadZipFile, zlib.error, OpcError, PythonDocxError, KeyError, SyntaxError, ValueError) as error:
        # KeyError and ValueError: an archive that is no Word document; SyntaxError: lxml's for broken XML.
        raise DocumentError(
            f"{path} is a damaged Word document or none at all; open it in a word processor and save it again"
        ) from error


def _check_size(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = archive.infolist()
    largest = max((file.file_size for file in files if file.filename.endswith((".xml", ".rels"))), default=0)
    if largest > _LARGEST_XML or sum(file.file_size for file in files) > _LARGEST_ARCHIVE:
        raise DocumentError(f"{path} unpacks to more than a document can be; if it is real, split it or save it as PDF")


def _blocks(container: Document | BlockItemContainer, depth: int) -> Iterator[Block]:
    from docx.text.paragraph import Paragraph

    for item in container.iter_inner_content():
        if isinstance(item, Paragraph):
            yield _paragraph(item)
        else:
            for row in _rows(item, depth):
                yield Block(row, tight=True)


def _paragraph(paragraph: Paragraph) -> Block:
    style = (paragraph.style.name if paragraph.style is not None else None) or ""
    heading = re.fullmatch(r"Heading ([1-9])", style, re.IGNORECASE)
    level = int(heading[1]) if heading else 0 if style.lower() == "title" else None
    properties = paragraph._p.pPr
    listed = style.lower().startswith("list") or (properties is not None and properties.numPr is not None)
    text = paragraph.text.strip()
    return Block(f"- {text}" if listed and text else text, level=level, tight=listed)


def _rows(table: Table, depth: int) -> Iterator[str]:
    if depth >= _DEEPEST_TABLE:
        return
    for row in table.rows:
        cells = []
        last = None
        for cell in row.cells:
            # A merged cell is handed out once for every column that it covers.
            if cell._tc is not last:
                cells.append(" ".join(block.text for block in _blocks(cell, depth + 1) if block.text))
            last = cell._tc
        yield " | ".join(" ".join(cell.split()) for cell in cells)
