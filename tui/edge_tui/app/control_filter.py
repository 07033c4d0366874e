"""The app's end of the filter for terminals: nothing foreign leaves the screen as a control character."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from edge_tui.terminal import without_controls


class ControlFilter(LineFilter):
    """Takes control characters out of every line before it is drawn: laid out, they have no width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or segment.text.isprintable()
            else segment._replace(text=without_controls(segment.text))
            for segment in segments
        ]
