"""`edge adapters`: the LoRAs on this machine, what they were trained on, and whether they fit a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_tui.cli.options import ANY_PATH, SAVE_AS, YES, replace_option
from edge_tui.click_types import Group
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.library import AdapterEntry


@click.group(cls=Group)
def adapters() -> None:
    """List, keep, show and remove LoRA adapters."""


@adapters.command("list", epilog="Example: edge adapters list --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(as_json: bool) -> None:
    """List the adapters on this machine."""
    from edge import library
    from edge.system import paths
    from edge_tui.cli.output import print_json, print_table, status
    from edge_tui.rendering.units import format_size

    entries = library.adapters()
    if as_json:
        print_json(entries)
    elif entries:
        print_table(("NAME", "FORMAT", "SIZE"), [(e.name, e.format, format_size(e.bytes)) for e in entries])
    else:
        status(f"There is no adapter in {paths.adapters_dir()} yet. Run: edge adapters add PATH")


@adapters.command(epilog="Example: edge adapters add my-lora --name legal")
@click.argument("path", type=ANY_PATH)
@SAVE_AS
@replace_option("Take the place of an adapter of that name.")
def add(path: Path, save_as: str | None, replace: bool) -> None:
    """Keep a copy of a LoRA: a PEFT folder, which fits every engine, a GGUF LoRA, or an .onnx_adapter."""
    import shutil

    from edge import library
    from edge.errors import AdapterError
    from edge.system import paths
    from edge_converters.output import atomic_output
    from edge_tui.cli.output import status
    from edge_tui.facts.adapter_facts import facts

    if not path.exists():
        raise AdapterError(f"{path} does not exist; give the folder or file of a LoRA")
    files = _peft_files(path) if path.is_dir() else [path]
    facts(path)
    name = save_as or library.adapter_name(path)
    if not name or Path(name).name != name or name.startswith("."):
        raise AdapterError(f"{name!r} is no name for an adapter; give a plain one with --name")
    taken = [entry for entry in library.adapters() if entry.name == name]
    if taken and not replace:
        raise AdapterError(f"there is an adapter called {name!r} already; give another --name, or --replace it")
    folder = paths.ensure_dir(paths.adapters_dir())
    out = folder / name if path.is_dir() else folder / f"{name}{path.suffix}"
    with _put_aside(taken), atomic_output(out, needs=sum(file.stat().st_size for file in files)) as partial:
        if path.is_dir():
            partial.mkdir()
            for file in files:
                shutil.copyfile(file, partial / file.name)
        else:
            shutil.copyfile(path, partial)
    status(f"{name} is kept. Use it with: edge chat -a {name}, or /adapter {name} in a chat.")


@adapters.command(epilog="Example: edge adapters show legal -m phi3")
@click.argument("name")
@click.option("-m", "--model", metavar="MODEL", help="Also say whether it fits this model.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, model: str | None, as_json: bool) -> None:
    """Show what an adapter changes and what it was trained on; NAME is a name from the list or a path."""
    from edge import library
    from edge_tui.cli.output import print_json
    from edge_tui.facts import adapter_facts

    path = library.find_adapter(name)
    facts = adapter_facts.facts(path)
    if model is not None:
        facts["fits"] = _fits(path, library.find_model(model))
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if value not in (None, [], ()):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            click.echo(f"{key.replace('_', ' '):<14} {visible_name(str(text))}")


@adapters.command(epilog="Example: edge adapters remove legal --yes")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@YES
def remove(names: tuple[str, ...], yes: bool) -> None:
    """Remove adapters that were kept; what they were copied from is left alone."""
    from edge import library
    from edge.errors import AdapterError
    from edge.system.suggestions import did_you_mean
    from edge_tui.cli.output import confirm, status

    known = {entry.name: entry for entry in library.adapters()}
    unknown = [name for name in names if name not in known]
    if unknown:
        meant = did_you_mean(unknown[0], known) or f"; known: {', '.join(known) or 'none'}"
        raise AdapterError(f"there is no adapter called {unknown[0]!r}{meant}")
    confirm(f"Delete {', '.join(known[name].path for name in dict.fromkeys(names))}?", yes)
    for name in dict.fromkeys(names):
        _delete(Path(known[name].path))
    status(f"Removed {', '.join(names)}.")


def _peft_files(folder: Path) -> list[Path]:
    """What belongs to a PEFT directory, without the checkpoints and optimiser states that training leaves there."""
    from edge_converters.lora.peft_adapter import Lora

    found = Lora(folder).directory
    endings = (".json", ".safetensors", ".md", ".jinja", ".model")
    return sorted(file for file in found.iterdir() if file.is_file() and file.suffix in endings)


@contextmanager
def _put_aside(entries: Sequence[AdapterEntry]) -> Iterator[None]:
    """Give up the places of adapters that are replaced; they come back if what replaces them cannot be written."""
    moved = [(Path(entry.path), Path(entry.path).with_name(f".replaced-{entry.name}")) for entry in entries]
    for path, aside in moved:
        _delete(aside)
        path.rename(aside)
    try:
        yield
    except BaseException:
        for path, aside in moved:
            aside.rename(path)
        raise
    for _, aside in moved:
        _delete(aside)


def _delete(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fits(adapter: Path, model: Path) -> str:
    """Whether it fits, in a sentence. PEFT directories are compared by their shapes, files by loading them."""
    import edge_converters  # noqa: F401 - registers what converts PEFT folders
    from edge import load
    from edge.errors import AdapterError, ConversionError

    try:
        with load(model, context=64) as loaded:
            done = loaded.add_adapter(adapter)
    except (AdapterError, ConversionError) as error:
        return f"no: {error}"
    changed = f", {done.modules} modules applied" if done.modules is not None else ""
    return f"yes, {model.name} takes it{changed}"
