"""/welcome, /new, /help, /quit."""

from __future__ import annotations

from edge_tui.slash_commands.base import SlashCommand, View, show


def new(view: View, _argument: str) -> None:
    view.restart()


def quit_(view: View, _argument: str) -> None:
    view.leave()


COMMANDS = (
    SlashCommand("welcome", "", "see what is on this machine and how to begin", show("welcome")),
    SlashCommand("new", "", "begin a new conversation", new),
    SlashCommand("help", "", "show this", show("help")),
    SlashCommand("quit", "", "leave", quit_),
)
