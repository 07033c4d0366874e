"""The model's words as Markdown that grows."""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter

from markdown_it.token import Token
from textual.content import Content
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock, MarkdownFence

from edge_tui.rendering.markdown import parser

_QUICK = 400
"""Characters of code that are highlighted faster than anyone sees."""


class Code(MarkdownFence):
    """A block of code; a long one that still grows is plain, because all of it is coloured anew with every piece."""

    def __init__(self, markdown: Markdown, token: Token, code: str) -> None:
        plain = len(code) > _QUICK and not _closed(token)
        super().__init__(markdown, token, "" if plain else code)
        if plain:
            self.code = code
            self._highlighted_code = Content(code)

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        return _highlighted(code, language, ansi, dark)


class Words(Markdown):
    """Only the last block is parsed and laid out again when something comes, however long the answer is."""

    def __init__(self) -> None:
        super().__init__(parser_factory=parser, open_links=False)
        self.cost = 0.0
        """Seconds that it took to draw the latest piece: a block of many pages takes longer than a paragraph."""

    def get_block_class(self, block_name: str) -> type[MarkdownBlock]:
        return Code if block_name in ("fence", "code_block") else super().get_block_class(block_name)

    async def grow(self, text: str) -> None:
        began = perf_counter()
        await self.append(text)
        self.cost = perf_counter() - began

    async def settle(self, markdown: str) -> None:
        """Show the finished text; one that stands there already costs nothing."""
        if markdown != self.source:
            await self.update(markdown)


def _closed(token: Token) -> bool:
    """Whether the fence has its last line; indented code has none."""
    if token.type != "fence" or token.map is None:
        return True
    return token.map[1] - token.map[0] >= token.content.count("\n") + 2


@lru_cache(maxsize=64)
def _highlighted(code: str, language: str, ansi: bool, dark: bool) -> Content:
    """The finished answer is laid out once more, with its marks: its code need not be read again."""
    return MarkdownFence.highlight(code, language, ansi=ansi, dark=dark)
