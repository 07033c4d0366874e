"""One line that says which model, what it is doing and what the last answer cost."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from edge.types import Prefill
from edge_index.records import AddProgress
from edge_tui.app import keys
from edge_tui.rendering.context_usage import meter
from edge_tui.session.events import Speed, State
from edge_tui.session.prewarm import Progress

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
        thinking: bool = False,
        adding: AddProgress | None = None,
        prewarmed: Progress | None = None,
    ) -> None:
        """Draw what changed; cheap to call often."""
        mark = {"ready": "●", "failed": "▲"}.get(state) or _SPINNER[int(monotonic() * 4) % len(_SPINNER)]
        if state == "answering":
            doing = f"{model} · {'writing' if writing else 'thinking'}" if writing or thinking else _reading(prefill)
        else:
            doing = _doing(state, model, adding)
        if state == "ready" and prewarmed is not None:
            # In front: a long name is cut, not this.
            doing = f"reading ahead, {prewarmed.done:,} of {prewarmed.total:,} · {doing}"
        left = f"{mark} {doing}"
        narrow = self.app.size.width < WIDE
        right = " · ".join((*_cost(speed, narrow=narrow), _count(documents, narrow=narrow)))
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
        if speed.cached:
            how = "kept" if speed.restored else "cached"
            parts.append(f"{_short(speed.cached) if narrow else f'{speed.cached:,}'} {how}")
        bar = meter(speed.used, speed.limit)
        if narrow:
            parts.append(f"{bar} {_short(speed.used)}/{_short(speed.limit)}")
        else:
            parts.append(f"context {bar} {speed.used:,}/{speed.limit:,}")
    return parts


def _short(count: int) -> str:
    """12345 as 12.3k: for a row that has no room."""
    return str(count) if count < 10_000 else f"{count / 1000:.1f}".removesuffix(".0") + "k"


def _count(documents: int, *, narrow: bool) -> str:
    word = "doc" if narrow else "document"
    return f"1 {word}" if documents == 1 else f"{documents or 'no'} {word}s"


class KeyLine(Static):
    """The keys that do something here, on one row."""

    def __init__(self, chosen: Mapping[str, str] | None = None) -> None:
        super().__init__("")
        self._chosen = keys.keymap({}) if chosen is None else chosen

    def on_mount(self) -> None:
        self.show(in_sources=False)

    def show(self, *, in_sources: bool) -> None:
        if in_sources:
            turn = f"{self._label('previous-source')} {self._label('next-source')}"
            shown = [(turn, "previous, next"), ("1–9", "choose"), ("↑ ↓", "scroll")]
            shown += [(self._label("stop"), "back"), (self._label("sources"), "close")]
        else:
            shown = [(self._label(key.name), key.short) for key in keys.KEYS if key.short and self._chosen[key.name]]
            shown.append(("/help", ""))
        parts = [Content.assemble((key, "bold"), (f" {what}" if what else "", "$text-muted")) for key, what in shown]
        self.update(Content("  ").join(parts))

    def _label(self, name: str) -> str:
        return keys.label(self._chosen[name].split(",")[0], short=True)
