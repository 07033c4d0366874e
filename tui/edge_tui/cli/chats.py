"""`edge chats`: what was said in `edge chat`, from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_tui.cli.options import YES, output_option, replace_option
from edge_tui.click_types import Choice, Group
from edge_tui.terminal import printable, visible_name

if TYPE_CHECKING:
    from edge_tui.history.records import ChatEntry, Turn
    from edge_tui.history.store import Store

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")


@click.group(cls=Group)
def chats() -> None:
    """List, show, search, export and remove kept chats."""


@chats.command("list", epilog="Example: edge chats list --json")
@_JSON
def list_(as_json: bool) -> None:
    """List the chats, the latest first. `edge chat --chat ID` goes on with one."""
    from edge_tui.cli.output import print_json, print_table, status

    with _store() as store:
        entries = store.chats()
    if as_json:
        print_json(entries)
    elif entries:
        print_table(("ID", "UPDATED", "QUESTIONS", "MODEL", "TITLE"), [_row(entry) for entry in entries])
    else:
        status("No chat is kept yet. Begin one with: edge chat")


@chats.command(epilog="Example: edge chats show 12")
@click.argument("chat", type=int, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, its messages included.")
def show(chat: int, as_json: bool) -> None:
    """Print a chat as Markdown."""
    from edge_tui.cli.output import print_json
    from edge_tui.history.export import as_markdown, as_object

    with _store() as store:
        entry, turns = store.chat(chat), store.turns(chat)
    if as_json:
        print_json(as_object(entry, turns))
    else:
        click.echo(as_markdown(entry, turns), nl=False)


@chats.command(epilog="Example: edge chats search shaft seal")
@click.argument("words", nargs=-1, required=True, metavar="WORDS…")
@_JSON
def search(words: tuple[str, ...], as_json: bool) -> None:
    """Find the chats that hold all the words, the latest first. The last word may be the beginning of one."""
    from edge_tui.cli.output import print_json, status

    with _store() as store:
        hits = store.search(" ".join(words))
    if as_json:
        print_json(hits)
        return
    if not hits:
        status("No chat holds all these words.")
    for hit in hits:
        click.secho(f"{hit.chat.id}  {visible_name(hit.chat.title)}", bold=True)
        if hit.role != "title":
            click.echo(f"   {'you' if hit.role == 'user' else 'model'}: {printable(hit.excerpt)}")


@chats.command(epilog="Example: edge chats export --training -o examples.jsonl")
@click.argument("wanted", nargs=-1, type=int, metavar="[ID]…")
@click.option("--format", "kind", type=Choice(["md", "json"]), help="Default: the ending of FILE, else md.")
@click.option("--training", is_flag=True, help="Answers marked good or corrected, as chat JSONL for tuning.")
@click.option("--bare", is_flag=True, help="With --training: questions alone, without passages and system text.")
@output_option("FILE", "Default: standard output.", required=False)
@replace_option("Write over FILE, if it exists.")
def export(
    wanted: tuple[int, ...], kind: str | None, training: bool, bare: bool, output: Path | None, replace: bool
) -> None:
    """Write chats, all unless told which, to a file."""
    from edge.errors import UsageError
    from edge.system.paths import chats_file
    from edge_tui.cli.output import status
    from edge_tui.history import export as exports

    if training and kind:
        raise click.UsageError("--training has a format of its own, give no --format")
    if bare and not training:
        raise click.UsageError("--bare belongs to --training")
    if output is not None and output.exists() and (not replace or output.resolve() == chats_file().resolve()):
        raise UsageError(f"{output} exists already; give another name, or --replace to write over it")
    with _store() as store:
        found = _chosen(store, wanted)
    if training:
        lines = list(exports.training(found, bare=bare))
        _put("".join(f"{line}\n" for line in lines), output)
        status(
            f"{len(lines)} example{'' if len(lines) == 1 else 's'}."
            + ("" if lines else " Mark answers with /good, or say with /correct what they should have been.")
        )
        return
    if (kind or (output.suffix[1:] if output else "")) == "json":
        _put(exports.as_json(found), output)
    else:
        _put("\n".join(exports.as_markdown(*chat) for chat in found), output)
    if output is not None:
        status(f"{len(found)} chat{'' if len(found) == 1 else 's'} written to {output}.")


@chats.command(epilog="Example: edge chats remove 12 13")
@click.argument("wanted", nargs=-1, required=True, type=int, metavar="ID…")
@YES
def remove(wanted: tuple[int, ...], yes: bool) -> None:
    """Delete chats for good."""
    from edge_tui.cli.output import confirm, status

    with _store() as store:
        entries = [store.chat(number) for number in dict.fromkeys(wanted)]
        names = ", ".join(f"“{visible_name(entry.title)}”" for entry in entries)
        confirm(f"Delete {names} for good?", yes)
        store.remove(entry.id for entry in entries)
    status(f"Deleted {names}.")


@contextmanager
def _store() -> Iterator[Store]:
    from edge.errors import StorageError
    from edge.system import paths
    from edge_tui.history.store import Store

    with Store(paths.chats_file()) as store:
        with suppress(StorageError):  # another process writes: what a kill cut off is then only found the next time
            store.tidy()
        yield store


def _chosen(store: Store, wanted: Sequence[int]) -> list[tuple[ChatEntry, list[Turn]]]:
    entries = [store.chat(number) for number in dict.fromkeys(wanted)] if wanted else store.chats()
    return [(entry, store.turns(entry.id)) for entry in entries]


def _row(entry: ChatEntry) -> tuple[str, ...]:
    from datetime import datetime

    when = datetime.fromisoformat(entry.updated).astimezone().strftime("%Y-%m-%d %H:%M")
    who = entry.model + (f" + {entry.adapter}" if entry.adapter else "")
    return str(entry.id), when, str(entry.questions), visible_name(who), visible_name(entry.title)


def _put(text: str, output: Path | None) -> None:
    from edge_tui.history.export import write

    if output is not None and str(output) != "-":
        write(output, text)
    else:
        sys.stdout.write(text)
