"""What the zip-based formats (DOCX, PPTX, XLSX, EPUB) share: a look at the sizes before anything is unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from edge.errors import DocumentError

OLE = b"\xd0\xcf\x11\xe0"
"""How old Office files begin, and new ones under a password."""
# XML takes ten times its size in memory.
_LARGEST_XML = 100 * 2**20
_LARGEST_ARCHIVE = 1000 * 2**20
_MOST_FILES = 20_000
_MARKUP = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx")


def check_size(path: Path, data: bytes, largest_xml: int = _LARGEST_XML) -> None:
    """Raises DocumentError for a bomb, zipfile.BadZipFile for what is no archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = archive.infolist()
    largest = max((file.file_size for file in files if file.filename.lower().endswith(_MARKUP)), default=0)
    whole = sum(file.file_size for file in files)
    if largest > largest_xml or whole > _LARGEST_ARCHIVE or len(files) > _MOST_FILES:
        raise DocumentError(
            f"{path} unpacks to more than a document can be ({whole >> 20} MiB, {len(files)} files); if it is real, "
            "split it or save it as PDF"
        )
