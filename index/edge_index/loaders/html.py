"""HTML: what a reader sees of a page, without menus and scripts, with its headings, lists and tables."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_index.loaders import Extracted
from edge_index.loaders.blocks import Block, assemble
from edge_index.loaders.text import decode

if TYPE_CHECKING:
    from bs4 import Tag
    from bs4.element import PageElement

_UNSEEN = frozenset(
    "title script style noscript template svg math canvas iframe object nav button select textarea dialog".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main ol p pre section summary table tbody td tfoot "
    "th thead tr ul".split()
)
_CELLS = frozenset(("td", "th"))
_TIGHT = frozenset(("li", "tr", "dt", "dd"))


def load(path: Path, data: bytes) -> Extracted:
    from bs4 import BeautifulSoup

    text = _decode(path, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the page looks like XML or like a file name
        soup = BeautifulSoup(text, "html.parser")
    page = _Page()
    page.read(soup)
    blocks = page.blocks
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    if blocks and title and not any(block.level == 1 for block in blocks):
        blocks.insert(0, Block(title, level=0))
    return assemble(blocks)


def _decode(path: Path, data: bytes) -> str:
    """The page in the encoding that it declares, else in what it seems to be."""
    from bs4.dammit import EncodingDetector

    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"))
    if declared and not marked and not declared.startswith("utf"):
        try:
            return data.decode(declared)
        except (LookupError, UnicodeDecodeError):
            pass  # it declares what it is not
    return decode(path, data)


class _Page:
    """A page on its way from a tree of tags to a list of blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._text: list[str] = []  # of the block in hand
        self._open: Counter[str] = Counter()  # names of the block elements around it
        self._cells = 0  # of the table row in hand

    def read(self, root: Tag) -> None:
        from bs4 import Tag
        from bs4.element import CData, NavigableString

        for node, entering in _walk(root):
            if isinstance(node, Tag):
                self._tag(node.name, entering)
            elif type(node) in (NavigableString, CData):  # and not a comment or a declaration
                self._text.append(str(node) if "pre" in self._open else re.sub(r"\s+", " ", str(node)))
        self._flush()

    def _tag(self, name: str, entering: bool) -> None:
        in_row = "tr" in self._open
        if name in _CELLS and in_row:
            if entering and self._cells:
                self._text.append(" | ")
            self._cells += entering
        elif name == "br" and entering:
            self._text.append(" " if in_row else "\n")
        elif name in _BLOCKS and in_row and name not in ("tr", "table"):
            self._text.append(" ")
        elif name in _BLOCKS:
            self._flush()
            if entering:
                self._open[name] += 1
                self._cells = 0
            else:
                self._open -= Counter((name,))

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if "pre" in self._open:
            text = text.strip("\r\n").rstrip()
        else:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
        if not text:
            return
        levels = [int(name[1]) for name in self._open if re.fullmatch("h[1-6]", name)]
        if "li" in self._open and not levels:
            text = f"- {text}"
        self.blocks.append(Block(text, min(levels, default=None), tight=any(name in self._open for name in _TIGHT)))


def _walk(root: Tag) -> Iterator[tuple[PageElement, bool]]:
    """Every element that is seen, as it is entered (True) and, for tags, left (False); without recursion."""
    from bs4 import Tag

    stack = [(root, iter(root.contents))]
    while stack:
        tag, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            if stack:
                yield tag, False
        elif not isinstance(child, Tag):
            yield child, True
        elif not _hidden(child):
            yield child, True
            stack.append((child, iter(child.contents)))


def _hidden(tag: Tag) -> bool:
    return (
        tag.name in _UNSEEN
        or tag.has_attr("hidden")
        or tag.get("role") == "navigation"
        or tag.get("aria-hidden") == "true"
    )
