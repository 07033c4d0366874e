"""`edge index`: documents in, passages out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tui.cli.options import ANY_PATH, Command
from edge_tui.cli.warm import warm
from edge_tui.click_types import Group, Option
from edge_tui.terminal import message, printable, visible_name

if TYPE_CHECKING:
    from edge.errors import EdgeError
    from edge.settings import Settings
    from edge_index import Index

_where = click.option(
    "--index", metavar="DIR", help="A folder, or the name of an index in the data directory (default: default)."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON with the field names of the records.")


def _choosing(command: Command) -> Command:
    """The options that say which files of a folder are meant."""
    for option in (
        click.option("--no-ignore", is_flag=True, help="Take also what .gitignore files leave out."),
        click.option("--exclude", multiple=True, metavar="PATTERN", help="No file like this ('old/**'); repeatable."),
        click.option("--include", multiple=True, metavar="PATTERN", help="Only files like this ('*.pdf'); repeatable."),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def index() -> None:
    """Build and search indexes of your documents."""


index.add_command(warm)


@index.command(epilog="Example: edge index add manuals/ --index pumps --exclude 'drafts/**'")
@click.argument("path", nargs=-1, required=True, type=ANY_PATH)
@_where
@_choosing
@click.option("--again", is_flag=True, help="Read every file again, also those that did not change.")
@click.option(
    "--metadata", "pairs", multiple=True, metavar="KEY=VALUE", help="Keep this with these documents; repeatable."
)
@_json
def add(
    path: tuple[Path, ...], index: str | None, again: bool, pairs: tuple[str, ...], as_json: bool, **choice: Any
) -> None:
    """Read files and folders into an index.

    A second time only what has changed is read, and of that only passages that are new are encoded; a file that is
    gone leaves the index. Files that cannot be read are listed with the reason; the others are indexed all the same.
    """
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.output import print_json, status
    from edge_tui.rendering.add_report import format_files, summary

    _require(path)
    with resources.filling(*_chosen(index)) as opened:
        report = resources.add_documents(
            opened, path, offer_rebuild=True, again=again, metadata=_metadata(pairs), **_choice(**choice)
        )
        old = opened.outdated_chunks()
    known = report.added or report.updated or report.unchanged or report.removed or report.moved
    if as_json:
        print_json(report)
    elif known:
        click.echo(summary(report))
    for sentence in format_files(report):
        status(sentence)
    if old:
        status(f"{old} documents were cut by older rules; this makes them afresh: edge index rebuild")
    if not known:
        raise resources.nothing_to_read(path, report)


@index.command(epilog="Example: edge index watch manuals/ --index pumps")
@click.argument("path", nargs=-1, required=True, type=ANY_PATH)
@_where
@_choosing
def watch(path: tuple[Path, ...], index: str | None, **choice: Any) -> None:
    """Add files and folders and follow their changes, until Ctrl-C."""
    from edge_index.records import AddReport
    from edge_index.watch import watch as follow
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.output import status, warn
    from edge_tui.rendering.add_report import changes, format_failures

    said: set[str] = set()

    def report_change(what: AddReport | EdgeError) -> None:
        if isinstance(what, AddReport):
            for line in changes(what):
                click.echo(line)
            sentences = format_failures(what.failed)
        else:
            sentences = [str(what)]
        for sentence in sentences:
            if sentence not in said:  # once, not at every change of another file
                warn(sentence)
        said.clear()
        said.update(sentences)

    _require(path)
    with resources.filling(*_chosen(index)) as opened:
        status(f"EventWatcher {', '.join(map(str, path))}; Ctrl-C ends it.")
        try:
            follow(opened, path, report_change, **_choice(**choice))
        except KeyboardInterrupt:
            status("No longer watching.")


@index.command(old=["redo"], epilog="Example: edge index rebuild --index pumps")
@_where
@click.option(
    "--force",
    cls=Option,
    old=["--anyway"],
    is_flag=True,
    help="Also when nothing is outdated; encodes every passage again.",
)
@_json
def rebuild(index: str | None, force: bool, as_json: bool) -> None:
    """Make an index afresh from the texts it keeps: by today's rules, with the encoder of the settings.

    The files are not needed. Until it is done the index stays as it is and can be searched; a rebuild that was
    interrupted goes on where it was.
    """
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.output import print_json, status
    from edge_tui.rendering.add_report import format_outdated

    with _opened(index, encoder=True) as opened:
        found = opened.outdated(force=force)
        if found is not None:
            status(format_outdated(found))
        report = resources.rebuild(opened, force=force)
    if as_json:
        print_json(report)
    elif found is None:
        click.echo("Nothing is outdated.")
    else:
        click.echo(f"{len(report.updated)} documents made afresh; {report.embedded:,} passages encoded")


@index.command("list", epilog="Example: edge index list --index pumps --json")
@_where
@_json
def list_(index: str | None, as_json: bool) -> None:
    """List the documents of an index; without --index, the indexes of the data directory.

    A document whose file is no longer what was read is marked: changed, or gone.
    """
    from edge import library
    from edge_tui.cli.output import print_json, print_table, status, to_jsonable
    from edge_tui.rendering.units import format_size, short_path

    if index is None:
        entries = library.indexes()
        if as_json:
            print_json(entries)
        elif entries:
            print_table(("INDEX", "SIZE"), [(entry.name, format_size(entry.bytes)) for entry in entries])
        else:
            status("There is no index yet. Make one: edge index add FOLDER")
        return
    with _opened(index) as opened:
        documents = opened.documents()
        stale = opened.stale()
    if as_json:
        print_json([to_jsonable(document) | {"stale": stale.get(document.path)} for document in documents])
    elif documents:
        header = ("PASSAGES", "CHARACTERS", "PAGES", "FILE", "DOCUMENT")
        rows = [
            (str(d.passages), str(d.characters), str(d.pages or ""), stale.get(d.path, ""), short_path(d.path))
            for d in documents
        ]
        print_table(header, rows)
    else:
        status(f"The index {index} is empty. Fill it: edge index add FOLDER --index {index}")


@index.command(epilog='Example: edge index search "pump maintenance" --index pumps -k 3 --json')
@click.argument("query")
@_where
@click.option("-k", type=click.IntRange(1, 1000), metavar="N", help="How many passages (default 5).")
@click.option(
    "--where", "pairs", multiple=True, metavar="KEY=VALUE", help="Only documents with this metadata; repeatable."
)
@_json
def search(query: str, index: str | None, k: int | None, pairs: tuple[str, ...], as_json: bool) -> None:
    """Find the passages that fit QUERY best, best first."""
    from edge.errors import UsageError
    from edge_tui.cli.options import settings
    from edge_tui.cli.output import print_json, status, to_jsonable
    from edge_tui.rendering.sources import STALE
    from edge_tui.rendering.units import short_path

    if not query.strip():
        raise UsageError("the query is empty; write what to look for")
    with _opened(index, encoder=True) as opened:
        passages = opened.search(query, settings(k=k).k, where=_metadata(pairs))
        stale = opened.stale({passage.document for passage in passages})
    if as_json:
        print_json([to_jsonable(passage) | {"stale": stale.get(passage.document)} for passage in passages])
        return
    if not passages:
        status("The documents do not tell.")
    for passage in passages:
        page = f" · p. {passage.page}" if passage.page is not None else ""
        heading = f" · {passage.heading}" if passage.heading else ""
        since = f" · {STALE[stale[passage.document]]}" if passage.document in stale else ""
        place = f"{short_path(passage.document)}{page} · {passage.start}–{passage.end}{heading}{since}"
        click.secho(f"{passage.score:.3f}  {visible_name(place)}", fg="cyan")
        click.echo(f"{printable(passage.text.strip())}\n")


@index.command(epilog="Example: edge index show manuals/pump.pdf:1200-1340 --index pumps")
@click.argument("document", metavar="DOCUMENT[:START-END]")
@_where
@click.option("-C", "--context", type=click.IntRange(0), default=400, metavar="N", help="Characters around a span.")
@_json
def show(document: str, index: str | None, context: int, as_json: bool) -> None:
    """Print the stored text of a document, or a span of it, marked, with what stands around it.

    The file is not needed. DOCUMENT is a path, or as much of its end as only one document has.
    """
    from edge_tui.cli.output import print_json
    from edge_tui.cli.reports.excerpt import excerpt, print_excerpt

    with _opened(index) as opened:
        found = excerpt(opened, document, context)
    if as_json:
        print_json(found)
    else:
        print_excerpt(found)


@index.command(epilog="Example: edge index export pumps.jsonl --index pumps")
@click.argument("out", metavar="OUT.jsonl", type=click.Path(path_type=Path, allow_dash=True))
@_where
def export(out: Path, index: str | None) -> None:
    """Write all documents and passages as JSON lines (- for standard output), also from a damaged index.

    What can be read is written, what cannot is named on standard error, with exit code 1.
    """
    import contextlib
    import sys

    from edge.errors import UsageError
    from edge_index.storage.export import export as write
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.output import status, warn

    if out.exists():
        raise UsageError(f"{out} exists already; give another name")
    path, wanted = _chosen(index)
    resources.require_index(path, wanted.index or resources.DEFAULT_INDEX)
    to_stdout = str(out) == "-"
    try:
        with contextlib.nullcontext(sys.stdout) if to_stdout else out.open("w", encoding="utf-8") as file:
            done = write(path / "index.sqlite", file)
    except BaseException:
        if not to_stdout:
            out.unlink(missing_ok=True)
        raise
    for failure in done.failed:
        warn(failure.reason)
    status(f"{done.documents:,} documents and {done.passages:,} passages written, {len(done.failed)} troubles")
    if done.failed:
        raise click.exceptions.Exit(1)


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
    from edge_tui.cli.output import print_json

    with _opened(index) as opened:
        problems = opened.check()
    if as_json:
        print_json(problems)
    for problem in () if as_json else problems:
        click.echo(message(problem))
    if problems:
        raise click.exceptions.Exit(1)
    if not as_json:
        click.echo("The index is whole.")


def _require(paths: tuple[Path, ...]) -> None:
    from edge.errors import StorageError

    for path in paths:
        if not path.exists():
            raise StorageError(f"{path} does not exist; give a file or folder with documents")


def _metadata(pairs: tuple[str, ...]) -> dict[str, Any] | None:
    """KEY=VALUE as metadata, None for none; a number, true, false and null are JSON's, all else is text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.UsageError(f"{pair!r} is not of the form KEY=VALUE")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        found[key] = parsed if isinstance(parsed, int | float | None) else value
    return found or None


def _choice(include: tuple[str, ...], exclude: tuple[str, ...], no_ignore: bool) -> dict[str, Any]:
    return {"include": include, "exclude": exclude, "ignore": not no_ignore}


@contextmanager
def _opened(name: str | None, *, encoder: bool = False) -> Iterator[Index]:
    """The index of that name or folder, else the one of the settings, else the default one."""
    from edge_tui.cli.inputs import resources

    path, wanted = _chosen(name)
    resources.require_index(path, wanted.index or resources.DEFAULT_INDEX)
    opened = resources.open_index(path, wanted, encoder=encoder)
    try:
        yield opened
    finally:
        opened.close()


def _chosen(name: str | None) -> tuple[Path, Settings]:
    from edge.library import find_index
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.options import settings

    wanted = settings(index=name)
    return find_index(wanted.index or resources.DEFAULT_INDEX), wanted
