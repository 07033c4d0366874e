"""Paths and sizes as people read them."""

from __future__ import annotations

import os

from edge_tui.terminal import visible_name


def short_path(path: str) -> str:
    """A path as seen from where we stand, when it lies below; safe to print."""
    here = os.path.join(os.getcwd(), "")
    return visible_name(path.removeprefix(here))


def format_size(number: int) -> str:
    """Bytes for people, in powers of 1000 as disks are sold: 98362432 -> '98.4 MB'."""
    amount, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.95 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
