"""One line that says which model, what it is doing and what the last answer cost."""

from __future__ import annotations

from time import monotonic

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from edge.types import AddProgress, Prefill
from edge_tui.chat.events import Speed, State

WIDE = 100
"""Columns from which the sources stand beside the conversation and the status line is written out."""

_SPINNER = "◐◓◑◒"


class StatusLine(Static):
    def __init__(self) -> None:
        super().__init__("")
        self._left = self._right = ""

    def show(
        self,
        state: State,
        model: str,
        speed: Speed,
        documents: int,
        *,
        prefill: Prefill | None = None,
        writing: bool = False,
        adding: AddProgress | None = None,
    ) -> None:
        """Draw what changed; cheap to call often."""
        mark = {"ready": "●", "failed": "▲"}.get(state) or _SPINNER[int(monotonic() * 4) % len(_SPINNER)]
        if state == "answering":
            doing = f"{model} · writing" if writing else _reading(prefill)
        else:
            doing = _doing(state, model, adding)
        left = f"{mark} {doing}"
        right = " · ".join((*_cost(speed, narrow=self.app.size.width < WIDE), _count(documents)))
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self._draw()
        self.set_class(state == "failed", "-failed")

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        """Fill the row by hand: the numbers change many times a second, and a layout each time is dear."""
        room = max(0, self.content_size.width - cell_len(self._right) - 2)
        left = Content(self._left).truncate(room, ellipsis=True, pad=True)
        self.update(Content.assemble(left, "  ", self._right), layout=False)


def _doing(state: State, model: str, adding: AddProgress | None) -> str:
    if state == "failed":
        return "no model"
    if state == "adding":
        return f"adding {adding.done} of {adding.total}" if adding else "adding documents"
    if state == "adapting":
        return "loading the adapter"
    if state in ("switching", "comparing"):
        return "loading what you chose" if state == "switching" else f"{model} · comparing"
    return "loading the model" if state == "loading" else model


def _reading(prefill: Prefill | None) -> str:
    return f"reading {prefill.done:,} of {prefill.total:,} tokens" if prefill else "reading"


def _cost(speed: Speed, *, narrow: bool) -> list[str]:
    parts = []
    if speed.rate is not None:
        parts.append(f"{speed.rate:.1f} tok/s")
    if speed.first_token is not None:
        parts.append(f"first {'' if narrow else 'word '}{speed.first_token:.2f} s")
    if speed.limit:
        cached = f", {speed.cached:,} cached" if speed.cached and not narrow else ""
        parts.append(f"{'' if narrow else 'context '}{speed.used:,}/{speed.limit:,}{cached}")
    return parts


def _count(documents: int) -> str:
    return "1 document" if documents == 1 else f"{documents or 'no'} documents"


class KeyLine(Static):
    """The keys that do something here, on one row."""

    _INPUT = (
        ("Enter", "send"),
        ("Esc", "stop"),
        ("^O", "sources"),
        ("^L", "add documents"),
        ("^Y", "copy"),
        ("^Q", "quit"),
        ("/help", ""),
    )
    _SOURCES = (("← →", "previous, next"), ("1–9", "choose"), ("↑ ↓", "scroll"), ("Esc", "back"), ("^O", "close"))

    def on_mount(self) -> None:
        self.show(in_sources=False)

    def show(self, *, in_sources: bool) -> None:
        keys = self._SOURCES if in_sources else self._INPUT
        parts = [Content.assemble((key, "bold"), (f" {what}" if what else "", "dim")) for key, what in keys]
        self.update(Content("  ").join(parts))
