"""The kinds of groups, options and choices of which the command line is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from edge.system.suggestions import did_you_mean


class Option(click.Option):
    """An option that had other names once: `old` ones are taken and never shown, for one release."""

    def __init__(self, *args: Any, old: Sequence[str] = (), **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.old = tuple(old)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown = self.opts
        self.opts = [*shown, *self.old]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


class Command(click.Command):
    """A command that had other names once: `old` ones are taken and never shown, for one release."""

    def __init__(self, *args: Any, old: Sequence[str] = (), **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.old = tuple(old)


class Group(click.Group):
    """A group whose commands all take the options of `verbosity`, and which says what a wrong name may have meant."""

    command_class = Command

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from edge_tui.verbosity import OPTIONS

        command = self.find_command(cmd_name)
        if command is not None and OPTIONS[0] not in command.params:
            command.params.extend(OPTIONS)
        return command

    def find_command(self, name: str) -> click.Command | None:
        return self.commands.get(name) or next(
            (command for command in self.commands.values() if name in getattr(command, "old", ())), None
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        known = self.list_commands(ctx)
        meant = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise click.UsageError(f"there is no command {name!r}{meant}", ctx)


class Choice(click.Choice[str]):
    """One of a few words; for a wrong one it says which was meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            meant = did_you_mean(str(value), self.choices)
            raise click.BadParameter(error.message.rstrip(".") + meant, ctx, param) from error
