"""The model's words as Markdown that grows."""

from __future__ import annotations

from time import perf_counter

from textual.widgets import Markdown

from edge_tui.chat.markdown import parser


class Words(Markdown):
    """Only the last block is parsed and laid out again when something comes, however long the answer is."""

    def __init__(self) -> None:
        super().__init__(parser_factory=parser, open_links=False)
        self.cost = 0.0
        """Seconds that it took to draw the latest piece: a block of many pages takes longer than a paragraph."""

    async def grow(self, text: str) -> None:
        began = perf_counter()
        await self.append(text)
        self.cost = perf_counter() - began

    async def settle(self, markdown: str) -> None:
        """Show the finished text; one that stands there already costs nothing."""
        if markdown != self.source:
            await self.update(markdown)
