"""Word documents (.docx): headings, paragraphs, lists, text boxes and tables in their order, notes behind them."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DocumentError
from edge_index.loaders.blocks import Block, assemble
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.office.archives import OLE, check_size

if TYPE_CHECKING:
    from docx.document import Document
    from docx.oxml.xmlchemy import BaseOxmlElement

_Styles = dict[str | None, str]
_DEEPEST = 8  # tables in tables
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


def load(path: Path, data: bytes) -> Extracted:
    from docx import Document
    from docx.exceptions import PythonDocxError
    from docx.opc.exceptions import OpcError

    if data.startswith(OLE):
        raise DocumentError(
            f"{path} is protected by a password or an old Word file; save it as .docx without a password"
        )
    try:
        check_size(path, data)
        document = Document(io.BytesIO(data))
        styles = {style.style_id: (style.name or "").lower() for style in document.styles}
        return assemble([*_blocks(document.element.body, styles, 0), *_notes(document)])
    except (zipfile.BadZipFile, zlib.error, OpcError, PythonDocxError, KeyError, SyntaxError, ValueError) as error:
        # KeyError and ValueError: an archive that is no Word document; SyntaxError: lxml's for broken XML.
        raise DocumentError(
            f"{path} is a damaged Word document or none at all; open it in a word processor and save it again"
        ) from error


def _blocks(element: BaseOxmlElement, styles: _Styles, depth: int) -> Iterator[Block]:
    """Paragraphs and tables in `element`, those in content controls included."""
    from docx.oxml.ns import qn

    for child in element:
        if child.tag == qn("w:p"):
            yield _paragraph(child, styles)
            for box in _found(child, qn("w:txbxContent")):
                yield from _blocks(box, styles, depth + 1) if depth < _DEEPEST else ()
        elif child.tag == qn("w:tbl") and depth < _DEEPEST:
            for row in child.iter(qn("w:tr")):
                if next(row.iterancestors(qn("w:tbl"))) is child:
                    yield Block(_row(row, styles, depth), tight=True)
        elif child.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:customXml"), qn("w:ins"), qn("w:moveTo")):
            yield from _blocks(child, styles, depth)


def _paragraph(element: BaseOxmlElement, styles: _Styles) -> Block:
    from docx.oxml.ns import qn

    properties = element.find(qn("w:pPr"))
    style_id = properties.find(qn("w:pStyle")) if properties is not None else None
    style = styles.get(style_id.get(qn("w:val")) if style_id is not None else None, "")
    heading = re.fullmatch(r"heading ([1-9])", style)
    level = int(heading[1]) if heading else 0 if style == "title" else None
    listed = style.startswith("list") or (properties is not None and properties.find(qn("w:numPr")) is not None)
    text = _text(element).strip()
    return Block(f"- {text}" if listed and text else text, level=level, tight=listed)


def _text(element: BaseOxmlElement) -> str:
    """What a reader sees of a paragraph: insertions and links too, neither deletions nor its text boxes."""
    from docx.oxml.ns import qn

    signs = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
    unseen = {qn("w:pPr"), qn("w:rPr"), qn("w:moveFrom"), qn("w:txbxContent"), _FALLBACK}
    parts = []
    stack = [iter(element)]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.tag == qn("w:t"):
            parts.append(node.text or "")
        elif node.tag in (qn("w:footnoteReference"), qn("w:endnoteReference")):
            parts.append(f"[{node.get(qn('w:id'))}]")
        elif node.tag in signs:
            parts.append(signs[node.tag])
        elif node.tag not in unseen:
            stack.append(iter(node))
    return "".join(parts)


def _found(element: BaseOxmlElement, name: str) -> list[BaseOxmlElement]:
    """The outermost elements of this name, without what only programs that know no better show."""
    return [
        found
        for found in element.iter(name)
        if not any(parent.tag in (name, _FALLBACK) for parent in _ancestors(found, element))
    ]


def _ancestors(element: BaseOxmlElement, until: BaseOxmlElement) -> Iterator[BaseOxmlElement]:
    for parent in element.iterancestors():
        if parent is until:
            return
        yield parent


def _row(row: BaseOxmlElement, styles: _Styles, depth: int) -> str:
    from docx.oxml.ns import qn

    cells = []
    for cell in row.iter(qn("w:tc")):
        if next(cell.iterancestors(qn("w:tr"))) is row:
            cells.append(" ".join(block.text for block in _blocks(cell, styles, depth + 1) if block.text))
    return " | ".join(" ".join(cell.split()) for cell in cells)


def _notes(document: Document) -> Iterator[Block]:
    """Footnotes and endnotes, behind the text, under the numbers by which it refers to them."""
    from docx.oxml.ns import qn
    from docx.oxml.parser import parse_xml

    for relation in document.part.rels.values():
        if relation.is_external or not relation.reltype.endswith(("/footnotes", "/endnotes")):
            continue
        for note in parse_xml(relation.target_part.blob):
            if note.get(qn("w:type")) is None:  # the others are lines between text and notes
                text = " ".join(_text(paragraph).strip() for paragraph in note.iter(qn("w:p")))
                yield Block(f"[{note.get(qn('w:id'))}] {text.strip()}", tight=True)
