"""Every command of `edge`, for tests that hold a page against them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from edge_tui.cli.main import cli


def every_command(command: click.Command = cli, parent: click.Context | None = None) -> Iterator[click.Context]:
    """A context for each command and group that is shown; `command_path` is how it is called."""
    name = command.name if parent else "edge"
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from every_command(found, context)
