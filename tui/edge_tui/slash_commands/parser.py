"""Lines that begin with a slash: what they ask of the app."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from edge_tui.slash_commands.typed_paths import from_url


@dataclass(frozen=True, slots=True)
class Command:
    """`name` without its slash, and the rest of the line."""

    name: str
    argument: str = ""


def parse(line: str) -> Command | None:
    """The command on a line, None for a question. A space before the slash makes it a question."""
    if not line.startswith("/"):
        return None
    name, _, argument = line[1:].partition(" ")
    return Command(name.strip().lower(), argument.strip())


def paths(argument: str) -> tuple[Path, ...]:
    """The paths of a line: as a whole if that exists, else split as a shell does, `~` expanded."""
    whole = Path(os.path.expanduser(argument))
    if os.path.exists(whole):  # Path.exists raises for names that are too long
        return (whole.absolute(),)
    try:
        words = shlex.split(argument)
    except ValueError:  # an odd apostrophe in a name
        words = argument.split()
    return tuple(Path(os.path.expanduser(from_url(word))).absolute() for word in words)
