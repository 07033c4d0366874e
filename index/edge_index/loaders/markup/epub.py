"""E-books (.epub): the chapters in reading order, each read as the HTML page that it is."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element, fromstring

from edge.errors import DocumentError
from edge_index.loaders.blocks import join
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.markup import html
from edge_index.loaders.office.archives import check_size

_CONTAINER = "META-INF/container.xml"
_PAGES = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml"))


def load(path: Path, data: bytes) -> Extracted:
    try:
        check_size(path, data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return join(_chapters(path, archive))
    except (zipfile.BadZipFile, zlib.error, KeyError, SyntaxError, ValueError) as error:
        raise DocumentError(
            f"{path} is a damaged e-book or none at all; open it in its own program and save it again"
        ) from error


def _chapters(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[Extracted, str | None, None]]:
    rootfile = next(_all(_xml(archive, _CONTAINER), "rootfile"), None)
    if rootfile is None:
        raise ValueError("no package document")
    package_name = rootfile.get("full-path", "")
    package = _xml(archive, package_name)
    folder = posixpath.dirname(package_name)
    items = {item.get("id"): item for item in _all(package, "item")}
    locked = _locked(archive)
    labels = _labels(archive, folder, items)
    for reference in dict.fromkeys(itemref.get("idref") for itemref in _all(package, "itemref")):
        item = items.get(reference)
        if item is None or item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or "").split():
            continue
        name = _resolve(folder, item.get("href") or "")
        if name in locked:
            raise DocumentError(f"{path} is protected (DRM); edge can read only books without protection")
        chapter = html.load(path, archive.read(name))
        titled = any(section.heading for section in chapter.sections)
        yield chapter, None if titled else labels.get(name), None


def _labels(archive: zipfile.ZipFile, folder: str, items: dict[str | None, Element]) -> dict[str, str]:
    """What the table of contents calls each file: of EPUB 3 (nav) or EPUB 2 (NCX)."""
    from bs4 import BeautifulSoup

    labels: dict[str, str] = {}
    for item in items.values():
        name = _resolve(folder, item.get("href") or "")
        base = posixpath.dirname(name)
        if name not in archive.NameToInfo:
            continue
        if "nav" in (item.get("properties") or "").split():
            for link in BeautifulSoup(archive.read(name), "html.parser").find_all("a", href=True):
                labels.setdefault(_resolve(base, str(link["href"])), " ".join(link.get_text().split()))
        elif item.get("media-type") == "application/x-dtbncx+xml":
            for point in _all(_xml(archive, name), "navPoint"):
                target = next(_all(point, "content"), None)
                label = next(_all(point, "text"), None)
                if target is not None and label is not None:
                    labels.setdefault(_resolve(base, target.get("src") or ""), _text(label))
    return labels


def _locked(archive: zipfile.ZipFile) -> set[str]:
    """Files that are encrypted."""
    name = "META-INF/encryption.xml"
    if name not in archive.NameToInfo:
        return set()
    return {unquote(reference.get("URI") or "") for reference in _all(_xml(archive, name), "CipherReference")}


def _xml(archive: zipfile.ZipFile, name: str) -> Element:
    """A file of the archive as a tree. expat reads no other file and stops at entities that multiply."""
    return fromstring(archive.read(name))


def _all(root: Element, name: str) -> Iterator[Element]:
    """Elements of this name in any namespace, in order."""
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


def _text(element: Element) -> str:
    return " ".join("".join(str(text) for text in element.itertext()).split())


def _resolve(folder: str, reference: str) -> str:
    """The archive's name for what is called `reference` in `folder`."""
    return posixpath.normpath(posixpath.join(folder, unquote(reference.partition("#")[0])))
