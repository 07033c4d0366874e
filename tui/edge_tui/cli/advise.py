"""`edge advise`: documents, tuning, both, a better prompt or something else, each with the figure it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_tui.cli.options import ANY_PATH

if TYPE_CHECKING:
    from edge.evaluation.advice import IndexFacts


@click.command(epilog="Example: edge advise comparison.json --data examples.jsonl --index manuals")
@click.argument("comparison", type=ANY_PATH, required=False)
@click.option("--data", type=ANY_PATH, metavar="FILE", help="Examples that there are to tune on.")
@click.option("--index", metavar="DIR", help="The index with the documents: a folder, or the name of one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def advise(comparison: Path | None, data: Path | None, index: str | None, as_json: bool) -> None:
    """Say what is worth doing, from a COMPARISON that edge compare wrote (default: the last one).

    Documents when answers live in them and must be traceable; tuning for vocabulary, style and form; both; a
    prompt with examples when that does as well; more data or another base when nothing helps.
    """
    from edge.evaluation.advice import advise as decide
    from edge.evaluation.advice import data_facts
    from edge.evaluation.run import read_comparison, read_questions
    from edge_tui.cli.output import print_json, status
    from edge_tui.terminal import visible_name

    file = comparison or _last()
    found = read_comparison(file) if file is not None else None
    facts = data_facts(read_questions(data)) if data is not None else None
    advice = decide(found, data=facts, index=_index(index) if index is not None else None)
    if as_json:
        print_json(advice)
        return
    if file is not None and comparison is None:
        status(f"From the last comparison: {visible_name(str(file))}")
    click.secho(advice.headline, bold=True)
    for reason in advice.reasons:
        click.echo(f"  {visible_name(reason)}")


def _last() -> Path | None:
    """The newest comparison that was kept."""
    from edge.system import paths

    folder = paths.comparisons_dir()
    files = list(folder.glob("*.json")) if folder.is_dir() else []
    return max(files, key=lambda file: file.stat().st_mtime_ns, default=None)


def _index(name: str) -> IndexFacts:
    from edge.evaluation.advice import IndexFacts
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.options import settings

    wanted = settings(index=name)
    path = resources.chosen_index(wanted)
    assert path is not None, "an index was named, or chosen_index raises"
    opened = resources.open_index(path, wanted, encoder=False)
    try:
        return IndexFacts(len(opened.documents()), len(opened), len(opened.stale()))
    finally:
        opened.close()
