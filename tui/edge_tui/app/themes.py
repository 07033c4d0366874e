"""The app's own colours: dark, light and high contrast, every text in them at least 4.5 to 1 (7 to 1) on its ground."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="edge-dark",
    primary="#8ab4f8",
    secondary="#9aa7b8",
    accent="#e5b567",
    success="#9ccc7c",
    warning="#e5b567",
    error="#ff8f8f",
    foreground="#e6e8eb",
    background="#15171b",
    surface="#1e2127",
    panel="#282c33",
    variables={
        "text": "#e6e8eb",
        "text-muted": "#a8b0bb",
        "text-disabled": "#949ca8",
        "text-primary": "#9cc0fa",
        "text-secondary": "#b4bfcd",
        "text-accent": "#edc684",
        "text-success": "#b0d896",
        "text-warning": "#edc684",
        "text-error": "#ffa5a5",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-background": "#33415c",
        "input-selection-background": "#8ab4f8 30%",
    },
)
LIGHT = Theme(
    name="edge-light",
    primary="#0b57b0",
    secondary="#4a5666",
    accent="#7f3f00",
    success="#14602a",
    warning="#7a4800",
    error="#a3122a",
    foreground="#0d1117",
    background="#fbfbfa",
    surface="#f0f0ee",
    panel="#e6e6e3",
    dark=False,
    variables={
        "text": "#0d1117",
        "text-muted": "#4f5863",
        "text-disabled": "#5c6570",
        "text-primary": "#0b4f9e",
        "text-secondary": "#3f4a58",
        "text-accent": "#6f3700",
        "text-success": "#0f5223",
        "text-warning": "#6a3f00",
        "text-error": "#8f0f24",
        "block-cursor-foreground": "#0d1117",
        "block-cursor-background": "#cfe0f7",
        "input-selection-background": "#0b57b0 25%",
    },
)
CONTRAST = Theme(
    name="edge-contrast",
    primary="#6fd3ff",
    secondary="#d0d0d0",
    accent="#ffe14d",
    success="#7dff8a",
    warning="#ffe14d",
    error="#ffb3b3",
    foreground="#ffffff",
    background="#000000",
    surface="#0a0a0a",
    panel="#141414",
    text_alpha=1.0,
    variables={
        "text": "#ffffff",
        "text-muted": "#e4e4e4",
        "text-disabled": "#d0d0d0",
        "text-primary": "#9be1ff",
        "text-secondary": "#e4e4e4",
        "text-accent": "#ffe97a",
        "text-success": "#a6ffaf",
        "text-warning": "#ffe97a",
        "text-error": "#ffc4c4",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-background": "#00395c",
        "input-selection-background": "#6fd3ff 30%",
    },
)
OWN = (DARK, LIGHT, CONTRAST)

COLOURLESS = "ansi-dark"
"""Textual's theme without colours of its own: what is left of it without colours is the terminal's own."""


def named(name: str | None) -> str:
    """The full name of a theme: `dark`, `light` and `contrast` are the app's own, every other is Textual's."""
    short = {theme.name.removeprefix("edge-"): theme.name for theme in OWN}
    return short.get(name or "dark", name or "")
