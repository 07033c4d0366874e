"""What the first-run screen tells: models, encoder and likely folders on this machine, found by their names alone.

No document is opened, no folder is read, nothing is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge import library
from edge.errors import EdgeError
from edge.system import paths
from edge_tui.hub import importing
from edge_tui.session.events import Error, Event, ModelImported

OFFLINE = (
    "Your documents, questions and answers stay on this machine: edge opens no network connection.",
    "Only `edge models pull` does, when you type it in a shell, and it fetches nothing but the model you name.",
    "No document has been looked into yet: edge reads what you add, and keeps its index beside your models.",
)
PULL = library.PULL


@dataclass(frozen=True, slots=True)
class Findings:
    """`elsewhere` are models of other programs, as `edge models import` takes them."""

    models: tuple[library.ModelEntry, ...]
    encoder: str | None
    elsewhere: tuple[str, ...]
    folders: tuple[Path, ...]


def look_around() -> Findings:
    """What is there now. Looks at the disk: not for the thread that draws."""
    try:
        encoder: str | None = library.find_encoder().name
    except EdgeError:
        encoder = None
    return Findings(tuple(library.models()), encoder, tuple(importing.elsewhere()), tuple(_folders()))


def import_model(where: str) -> Iterator[Event]:
    """Make a model of another program one of the library, by a link: `ModelImported`, or `Error`."""
    try:
        path = importing.import_model(where, paths.models_dir(), how="link")
    except EdgeError as error:
        yield Error(str(error))
        return
    yield ModelImported(path.stem if path.suffix == ".gguf" else path.name)


def shown(path: Path) -> str:
    """A path as people write it, the home directory as `~`."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):
        return str(path)


def _folders() -> Iterator[Path]:
    """Where documents are likely: the system's folder for them, one called so, and the one we stand in."""
    import platformdirs

    home = Path.home()
    likely = [Path(platformdirs.user_documents_dir()), home / "Documents", home / "Dokumente"]
    try:
        here = Path.cwd()
    except OSError:  # it was deleted under us
        here = home
    if here != home and here != Path(here.anchor):
        likely.append(here)
    seen = set()
    for folder in likely:
        real = os.path.realpath(folder)
        if os.path.isdir(folder) and real not in seen:
            seen.add(real)
            yield folder
