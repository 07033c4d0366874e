"""The list of all slash commands."""

from __future__ import annotations

from edge_tui.slash_commands import answers, app, chats, compare, documents, model, turns, view
from edge_tui.slash_commands.base import SlashCommand


def all_commands() -> dict[str, SlashCommand]:
    """All of them by name, in the order of the help."""
    groups = (documents, answers, view, model, compare, chats, turns, app)
    return {command.name: command for group in groups for command in group.COMMANDS}
