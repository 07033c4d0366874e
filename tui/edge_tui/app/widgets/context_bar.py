"""The context of one answer as a bar, with its numbers and what was left out."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from edge.types import ContextUsage
from edge_tui.rendering import context_usage

_COLOURS = {
    "system": "$text-secondary",
    "history": "$text-primary",
    "passages": "$text-success",
    "question": "$text-accent",
    "room for the reply": "$text-muted",
    "free": "$text-muted",
}


class ContextBar(Static):
    """Draws itself anew for the width that it gets."""

    def __init__(self, usage: ContextUsage) -> None:
        super().__init__("")
        self._usage = usage

    def on_resize(self) -> None:
        self.update(_drawn(self._usage, self.content_size.width))


def _drawn(usage: ContextUsage, width: int) -> Content:
    parts = context_usage.parts(usage)
    cells = context_usage.shares([part.tokens for part in parts], width)
    bar = [(part.sign * count, _COLOURS[part.name]) for part, count in zip(parts, cells, strict=True) if count]
    named = [
        Content.assemble((f"{part.sign}\xa0", _COLOURS[part.name]), f"{part.name} {part.tokens:,}".replace(" ", "\xa0"))
        for part in parts
        if part.tokens or part.name == "free"
    ]
    title = Content.assemble(("Context", "bold"), f"  {usage.limit:,} tokens")
    return Content("\n").join(
        [title, Content.assemble(*bar), Content("  ").join(named), Content(context_usage.left_out(usage))]
    )
