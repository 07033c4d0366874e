"""Where the context of an answer went, as parts of a bar and as sentences; nothing here knows a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.types import ContextUsage
from edge_tui.terminal import visible_name


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the context; `sign` fills its piece of the bar, so that it is told apart without colours, too."""

    name: str
    tokens: int
    sign: str


def parts(usage: ContextUsage) -> tuple[Part, ...]:
    """All of the context, in the order in which the model reads it; what nobody took is the last."""
    taken = usage.system + usage.history + usage.passages + usage.question + usage.reserved
    return (
        Part("system", usage.system, "▓"),
        Part("history", usage.history, "▒"),
        Part("passages", usage.passages, "█"),
        Part("question", usage.question, "▚"),
        Part("room for the reply", usage.reserved, "░"),
        Part("free", max(0, usage.limit - taken), "·"),
    )


def shares(tokens: Sequence[int], width: int) -> list[int]:
    """Cells of a bar of `width`, in proportion; whatever is there at all gets one, if there are enough."""
    total = sum(tokens)
    if total <= 0 or width <= 0:
        return [0] * len(tokens)
    cells = [max(1, round(width * count / total)) if count else 0 for count in tokens]
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    while sum(cells) < width:
        cells[cells.index(max(cells))] += 1
    return cells


def left_out(usage: ContextUsage) -> str:
    """What had no room, in a sentence."""
    if not usage.dropped:
        return "Nothing was left out."
    items = "; ".join(f"{visible_name(item.what)} ({item.tokens:,} tokens)" for item in usage.dropped)
    return f"Left out, because there was no room: {items}."


def meter(used: int, limit: int, width: int = 5) -> str:
    """How full the context is, as a bar of `width` cells; one that holds anything is not shown empty."""
    if limit <= 0:
        return ""
    filled = min(width, max(1 if used else 0, round(width * used / limit)))
    return "█" * filled + "░" * (width - filled)
