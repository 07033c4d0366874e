"""Presentations (.pptx): a slide is a page, its title the heading; tables, charts and notes are read too."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import DocumentError
from edge_index.loaders.blocks import Block, assemble, join, silent
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.office.archives import OLE, check_size

if TYPE_CHECKING:
    from pptx.slide import Slide

_DEEPEST_GROUP = 16


def load(path: Path, data: bytes) -> Extracted:
    from pptx import Presentation
    from pptx.exc import PythonPptxError

    if data.startswith(OLE):
        raise DocumentError(
            f"{path} is protected by a password or an old PowerPoint file; save it as .pptx without a password"
        )
    try:
        check_size(path, data)
        slides = [assemble(_blocks(slide)) for slide in Presentation(io.BytesIO(data)).slides]
    except (zipfile.BadZipFile, zlib.error, PythonPptxError, KeyError, SyntaxError, ValueError) as error:
        raise DocumentError(
            f"{path} is a damaged presentation or none at all; open it in its own program and save it again"
        ) from error
    joined = join((slide, None, number) for number, slide in enumerate(slides, 1))
    without = [number for number, slide in enumerate(slides, 1) if not slide.text]
    return replace(joined, pages=len(slides), notes=silent("slide", without, "pictures?"))


def _blocks(slide: Slide) -> Iterator[Block]:
    title = slide.shapes.title
    if title is not None:
        yield Block(" ".join(title.text_frame.text.split()), level=1)
    rest = [shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id]
    yield from _shapes(rest, 0)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            yield Block(f"Notes: {notes}")


def _shapes(shapes: Iterable[Any], depth: int) -> Iterator[Block]:
    """From top to bottom and from left to right, as they are seen; a shape without a place is where its layout says."""
    for shape in sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0)):
        if hasattr(shape, "shapes"):
            if depth < _DEEPEST_GROUP:
                yield from _shapes(shape.shapes, depth + 1)
        elif shape.has_text_frame:
            for paragraph in shape.text_frame.paragraphs:
                text = paragraph.text.replace("\v", "\n").strip()
                yield Block("  " * paragraph.level + f"- {text}" if paragraph.level and text else text, tight=True)
            yield Block("")
        elif getattr(shape, "has_table", False):
            yield Block("")
            for row in shape.table.rows:
                cells = (" ".join(cell.text.split()) for cell in row.cells if not cell.is_spanned)
                yield Block(" | ".join(cells), tight=True)
        elif getattr(shape, "has_chart", False):
            yield Block("")
            yield from _chart(shape.chart)


def _chart(chart: Any) -> Iterator[Block]:
    """Its title, and for every series its values by category."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield Block(chart.chart_title.text_frame.text.strip())
    for plot in chart.plots:
        names = [str(category) for category in plot.categories]
        for series in plot.series:
            values = [f"{value:g}" if value is not None else "" for value in series.values]
            pairs = [f"{name}: {value}" for name, value in zip(names, values, strict=False)] or values
            yield Block(" | ".join((series.name, *pairs)), tight=True)
