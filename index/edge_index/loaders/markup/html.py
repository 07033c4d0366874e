"""HTML: what a reader sees of a page, without menus and scripts, with its headings, lists and tables."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from edge_index.loaders.blocks import Block, assemble
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.plain.text import decode

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
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
# An element that ends where another of its kind begins, end tag or not -> what it does not end outside of.
_SIBLINGS: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (frozenset(("li",)), frozenset(("ul", "ol", "menu"))),
    (frozenset(("dt", "dd")), frozenset(("dl",))),
    (_CELLS, frozenset(("tr", "table"))),
    (frozenset(("tr",)), frozenset(("table",))),
    (frozenset(("thead", "tbody", "tfoot")), frozenset(("table",))),
)
# Deeper elements are read as if they were not there; their text is.
_DEEPEST = 200


def load(path: Path, data: bytes) -> Extracted:
    return extract(_decode(path, data))


def extract(text: str) -> Extracted:
    """The page of which `text` is the source."""
    page = _Page()
    page.feed(text)
    page.close()
    blocks = page.blocks
    title = " ".join("".join(page.title).split())
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


class _Page(HTMLParser):
    """A page on its way from tags to a list of blocks, in one pass and without a tree."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title: list[str] = []
        self._text: list[str] = []  # of the block in hand
        self._stack: list[tuple[str, bool]] = []  # the block elements and the unseen ones around it
        self._unseen = 0  # how many of them are not seen
        self._open: Counter[str] = Counter()  # names of the seen ones
        self._cells = 0  # of the table row in hand

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            if not self._unseen:
                self._tag(tag, entering=True)
            return
        self._end_siblings(tag)
        unseen = tag in _UNSEEN or _hidden(dict(attrs))
        if len(self._stack) < _DEEPEST and (unseen or self._unseen or tag in _BLOCKS):
            if unseen and not self._unseen and (tag in _BLOCKS or tag in ("nav", "dialog")):
                self._flush()
            self._stack.append((tag, unseen))
            self._unseen += unseen
            if not self._unseen:
                self._tag(tag, entering=True)

    def handle_endtag(self, tag: str) -> None:
        if any(name == tag for name, _ in self._stack):
            while self._pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._text.append(data if "pre" in self._open else re.sub(r"\s+", " ", data))
        elif self._stack[-1][0] == "title" and "svg" not in dict(self._stack):
            self.title.append(data)

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def close(self) -> None:
        super().close()
        self._flush()

    def _end_siblings(self, tag: str) -> None:
        if tag in _BLOCKS and self._stack and self._stack[-1][0] == "p":
            self._pop()
        for kind, around in _SIBLINGS:
            if tag in kind:
                above = [name for name, _ in self._stack]
                at = next((i for i in range(len(above) - 1, -1, -1) if above[i] in kind or above[i] in around), -1)
                while at >= 0 and above[at] in kind and len(self._stack) > at:
                    self._pop()

    def _pop(self) -> str:
        tag, unseen = self._stack.pop()
        if not self._unseen:
            self._tag(tag, entering=False)
        self._unseen -= unseen
        return tag

    def _tag(self, name: str, *, entering: bool) -> None:
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
            if entering and name not in _VOID:
                self._open[name] += 1
                self._cells = 0
            elif name in self._open:
                self._open[name] -= 1
                self._open += Counter()  # without those that are closed

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


def _hidden(attributes: dict[str, str | None]) -> bool:
    return "hidden" in attributes or attributes.get("role") == "navigation" or attributes.get("aria-hidden") == "true"
