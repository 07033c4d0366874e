"""Manual pages out of the commands, one a command, in the names that `man edge-index-add` looks for.

    python packaging/manual_pages.py ~/.local/share/man/man1

Written here and not taken from click-man, which does not see groups that import their commands when they are called,
and leaves out the examples behind them.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from datetime import date
from importlib import metadata
from pathlib import Path

import click

from edge_tui.cli.main import cli


def pages(command: click.Command, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """(name of the file, roff) of a command and of everything below it, hidden ones left out."""
    name = (command.name or "") if parent else "edge"
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    below = children(command, context)
    yield f"{context.command_path.replace(' ', '-')}.1", page(context, below)
    for child in below:
        yield from pages(child, context)


def children(command: click.Command, context: click.Context) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return []
    found = (command.get_command(context, name) for name in command.list_commands(context))
    return [child for child in found if child is not None and not child.hidden]


def page(context: click.Context, below: list[click.Command]) -> str:
    command, path = context.command, context.command_path
    title = path.replace(" ", "-")
    lines = [f'.TH "{title.upper()}" "1" "{date.today()}" "edge {metadata.version("edge-expert")}" "edge manual"']
    lines += [".SH NAME", f"{escaped(title)} \\- {escaped(command.get_short_help_str(200))}"]
    lines += [".SH SYNOPSIS", f"\\fB{escaped(path)}\\fR {escaped(' '.join(command.collect_usage_pieces(context)))}"]
    lines += [".SH DESCRIPTION", *paragraphs(command.help or "")]
    records = [each.get_help_record(context) for each in command.get_params(context) if isinstance(each, click.Option)]
    if records:
        lines.append(".SH OPTIONS")
        for option, about in filter(None, records):
            lines += [".TP", f"\\fB{escaped(option)}\\fR", escaped(about)]
    if below:
        lines.append(".SH COMMANDS")
        for child in below:
            lines += [".TP", f"\\fB{escaped(f'{title}-{child.name}')}\\fR(1)", escaped(child.get_short_help_str(200))]
    if command.epilog:
        lines += [".SH NOTES", *paragraphs(command.epilog)]
    if context.parent:
        lines += [".SH SEE ALSO", f"\\fB{escaped(context.parent.command_path.replace(' ', '-'))}\\fR(1)"]
    return "\n".join(lines) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs as click reads them: one that begins with a line of \\b keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n[ \t]*\n", inspect.cleandoc(text))):
        yield from [".PP"] if number else []
        first, _, rest = paragraph.partition("\n")
        if first.strip() == "\b":
            yield from (".nf", *map(escaped, rest.splitlines()), ".fi")
        else:
            yield escaped(" ".join(paragraph.split()))


def escaped(text: str) -> str:
    """Text that roff takes for nothing else: no escape, no minus that becomes a dash, no request in front; ASCII."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    plain = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in plain)
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(cli):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
