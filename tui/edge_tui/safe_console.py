"""Rich behind the filter for terminals: what is printed is spelled before it is laid out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from edge_tui.terminal import styles, unfiltered, visible


class SafeConsole(Console):
    """Writes to `stream`, with styles only where they are wanted there; see `edge_tui.terminal`."""

    def __init__(self, stream: TextIO) -> None:
        colours: Literal["auto"] | None = "auto" if styles(stream) else None
        super().__init__(file=unfiltered(stream), color_system=colours, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
