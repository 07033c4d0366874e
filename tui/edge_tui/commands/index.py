"""`edge index`: documents in, passages out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_tui.commands.options import ANY_PATH

if TYPE_CHECKING:
    from edge.settings import Settings
    from edge_index import Index

_where = click.option(
    "--index", metavar="DIR", help="A folder, or the name of an index in the data directory (default: default)."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON with the field names of the records.")


@click.group()
def index() -> None:
    """Build and search indexes of your documents."""


@index.command(epilog="Example: edge index add manuals/ --index pumps")
@click.argument("path", nargs=-1, required=True, type=ANY_PATH)
@_where
@_json
def add(path: tuple[Path, ...], index: str | None, as_json: bool) -> None:
    """Read files and folders into an index.

    A second time only what has changed is read, and a file that is gone leaves the index. Files that cannot
    be read are listed with the reason; the others are indexed all the same.
    """
    from edge.errors import StorageError
    from edge_tui.commands import opening
    from edge_tui.commands.output import print_json, status

    for one in path:
        if not one.exists():
            raise StorageError(f"{one} does not exist; give a file or folder with documents")
    with opening.filling(*_chosen(index)) as opened:
        report = opening.add_documents(opened, path)
    if as_json:
        print_json(report)
    elif report.added or report.updated or report.unchanged or report.removed:
        click.echo(
            f"{len(report.added)} added, {len(report.updated)} updated, {len(report.unchanged)} unchanged, "
            f"{len(report.removed)} removed, {len(report.failed)} failed; {report.passages:,} new passages"
        )
    if report.skipped:
        status(f"{len(report.skipped)} files were left alone, because edge does not read their format.")
    if not (report.added or report.updated or report.unchanged or report.removed):
        raise opening.nothing_to_read(path, report)


@index.command("list", epilog="Example: edge index list --index pumps --json")
@_where
@_json
def list_(index: str | None, as_json: bool) -> None:
    """List the documents of an index; without --index, the indexes of the data directory."""
    from edge import library
    from edge_tui.commands.output import print_json, print_table, short, size, status

    if index is None:
        entries = library.indexes()
        if as_json:
            print_json(entries)
        elif entries:
            print_table(("INDEX", "SIZE"), [(entry.name, size(entry.bytes)) for entry in entries])
        else:
            status("There is no index yet. Make one: edge index add FOLDER")
        return
    with _opened(index) as opened:
        documents = opened.documents()
    if as_json:
        print_json(documents)
    elif documents:
        header = ("PASSAGES", "CHARACTERS", "PAGES", "DOCUMENT")
        rows = [
            (str(d.passages), str(d.characters), "" if d.pages is None else str(d.pages), short(d.path))
            for d in documents
        ]
        print_table(header, rows)
    else:
        status(f"The index {index} is empty. Fill it: edge index add FOLDER --index {index}")


@index.command(epilog='Example: edge index search "pump maintenance" --index pumps -k 3 --json')
@click.argument("query")
@_where
@click.option("-k", type=click.IntRange(1, 1000), metavar="N", help="How many passages (default 5).")
@_json
def search(query: str, index: str | None, k: int | None, as_json: bool) -> None:
    """Find the passages that fit QUERY best, best first."""
    from edge.errors import UsageError
    from edge_tui.chat.events import printable
    from edge_tui.commands.options import settings
    from edge_tui.commands.output import print_json, short, status

    if not query.strip():
        raise UsageError("the query is empty; write what to look for")
    with _opened(index, encoder=True) as opened:
        passages = opened.search(query, settings(k=k).k)
    if as_json:
        print_json(passages)
        return
    if not passages:
        status("The documents do not tell.")
    for passage in passages:
        page = f" · p. {passage.page}" if passage.page is not None else ""
        heading = f" · {passage.heading}" if passage.heading else ""
        place = f"{short(passage.document)}{page} · {passage.start}–{passage.end}{heading}"
        click.secho(f"{passage.score:.3f}  {printable(place)}", fg="cyan")
        click.echo(f"{printable(passage.text.strip())}\n")


@index.command(epilog="Example: edge index remove manuals/old.pdf --index pumps")
@click.argument("path")
@_where
def remove(path: str, index: str | None) -> None:
    """Take a document, or all documents of a folder, out of an index. The files themselves stay."""
    from edge.errors import KnowledgeError

    with _opened(index) as opened:
        count = opened.remove(path)
    if not count:
        raise KnowledgeError(f"{path} is not in the index; `edge index list --index NAME` shows what is")
    click.echo(f"{count} removed")


@index.command(epilog="Example: edge index check --index pumps")
@_where
@_json
def check(index: str | None, as_json: bool) -> None:
    """Look whether an index is whole; exit code 1 and a list when it is not."""
    from edge_tui.commands.output import print_json

    with _opened(index) as opened:
        problems = opened.check()
    if as_json:
        print_json(problems)
    for problem in () if as_json else problems:
        click.echo(problem)
    if problems:
        raise click.exceptions.Exit(1)
    if not as_json:
        click.echo("The index is whole.")


@contextmanager
def _opened(name: str | None, *, encoder: bool = False) -> Iterator[Index]:
    """The index of that name or folder, else the one of the settings, else the default one."""
    from edge_tui.commands import opening

    path, wanted = _chosen(name)
    opening.require_index(path, wanted.index or opening.DEFAULT_INDEX)
    opened = opening.open_index(path, wanted, encoder=encoder)
    try:
        yield opened
    finally:
        opened.close()


def _chosen(name: str | None) -> tuple[Path, Settings]:
    from edge.library import find_index
    from edge_tui.commands import opening
    from edge_tui.commands.options import settings

    wanted = settings(index=name)
    return find_index(wanted.index or opening.DEFAULT_INDEX), wanted
