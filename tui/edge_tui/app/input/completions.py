"""What may stand in the place of a slash command that was begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge.errors import EdgeError
from edge_tui.slash_commands.base import SlashCommand, View
from edge_tui.terminal import visible_name

Arguments = Callable[[SlashCommand, str], Sequence[str]]
"""What may stand in the place of an argument that was begun, for one command."""


@dataclass(frozen=True, slots=True)
class Completion:
    """`line` replaces what was typed; `label` and `what` are what a person reads. `whole`: it can be sent as it is."""

    line: str
    label: str
    what: str
    whole: bool = False


def wanted(text: str) -> bool:
    """Whether a text is a command in the making: one line that begins with a slash."""
    return text.startswith("/") and "\n" not in text


async def complete(text: str, commands: Mapping[str, SlashCommand], view: View) -> list[Completion]:
    """What fits `text`, found in a thread of its own."""

    def arguments(command: SlashCommand, begun: str) -> Sequence[str]:
        try:
            return command.complete(view, begun) if command.complete is not None else ()
        except (EdgeError, OSError):  # a list that cannot be made is none; sending the line says why
            return ()

    return await asyncio.to_thread(completions, text, commands, arguments)


def completions(text: str, commands: Mapping[str, SlashCommand], arguments: Arguments) -> list[Completion]:
    """The commands that fit a name, or what fits the argument behind it. May look at the disk."""
    if not wanted(text):
        return []
    name, blank, begun = text[1:].partition(" ")
    if blank:
        command = commands.get(name.lower())
        if command is None or command.complete is None:
            return []
        begun = begun.lstrip()
        return [
            Completion(f"/{command.name} {each}", visible_name(each), "", not each.endswith("/"))
            for each in arguments(command, begun)
            if each != begun
        ]
    every = list(commands.values())
    first = [command for command in every if command.name.startswith(name.lower())]
    inside = [command for command in every if command not in first and len(name) > 1 and name.lower() in command.name]
    return [_named(command) for command in [*first, *inside] if text != f"/{command.name}" or command.argument]


def _named(command: SlashCommand) -> Completion:
    needs_more = bool(command.argument)
    line = f"/{command.name}{' ' if needs_more else ''}"
    return Completion(line, command.usage, command.description, not needs_more)
