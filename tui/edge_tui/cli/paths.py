"""`edge paths`: where the state lives."""

from __future__ import annotations

import click


@click.command(epilog="Example: EDGE_HOME=/mnt/usb/edge edge paths")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def paths(as_json: bool) -> None:
    """Show where edge keeps its models, indexes, chats, cache and settings.

    Cache and settings are where this system keeps those. EDGE_HOME puts all of them into one other folder.
    """
    from edge.system import paths as places
    from edge_tui.cli.output import print_json

    found = {
        "home": str(places.home()),
        "models": str(places.models_dir()),
        "indexes": str(places.indexes_dir()),
        "chats": str(places.chats_file()),
        "cache": str(places.cache_dir()),
        "config": str(places.config_file()),
    }
    if as_json:
        print_json(found)
        return
    for name, path in found.items():
        click.echo(f"{name:<8} {path}")
