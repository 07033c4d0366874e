"""The documents of an index as folders and files, with what is to be known of each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edge_index.records import Document
from edge_tui.rendering.sources import Staleness
from edge_tui.terminal import printable, visible_name

STALE: Mapping[Staleness, str] = {"changed": "changed since it was read", "gone": "the file is gone"}


@dataclass(slots=True)
class Folder:
    """`path` as the index writes it; `name` is what stands in the tree, several folders of one child in one."""

    path: str
    name: str
    folders: list[Folder] = field(default_factory=list)
    files: list[Document] = field(default_factory=list)

    def documents(self) -> Iterator[Document]:
        """Those in it and below it."""
        yield from self.files
        for folder in self.folders:
            yield from folder.documents()


def tree(documents: Iterable[Document]) -> list[Folder]:
    """The topmost folders, everything sorted by name; one that holds a single folder only is joined with it."""
    root = Folder("", "")
    known: dict[str, Folder] = {"": root}
    for document in documents:
        _folder(_parent(document.path), known).files.append(document)
    for each in known.values():
        each.folders.sort(key=lambda folder: folder.name)
        each.files.sort(key=lambda document: document.path)
    top = [_joined(folder) for folder in root.folders]
    return [Folder("", "(no folder)", [], root.files), *top] if root.files else top


def counts(documents: Iterable[Document], stale: Mapping[str, Staleness]) -> str:
    """How many documents, passages and pages, and how many of them are stale, in a few words."""
    every = list(documents)
    pages = sum(document.pages or 0 for document in every)
    old = sum(document.path in stale for document in every)
    parts = [_many(len(every), "document"), _many(sum(document.passages for document in every), "passage")]
    if pages:
        parts.append(_many(pages, "page"))
    if old:
        parts.append(f"{old:,} stale")
    return " · ".join(parts)


def line(document: Document, stale: Mapping[str, Staleness]) -> tuple[str, str, str]:
    """A file's name, its numbers, and in which way it is stale (empty where it is not)."""
    pages = f" · {_many(document.pages, 'page')}" if document.pages else ""
    state = stale.get(document.path)
    name = printable(os.path.basename(document.path.replace("\\", "/")) or document.path)
    return name, f"{_many(document.passages, 'passage')}{pages}", STALE[state] if state else ""


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _parent(path: str) -> str:
    """The folder that a path lies in, the separator of either system."""
    at = max(path.rfind("/"), path.rfind("\\"))
    return path[:at] if at > 0 else path[: at + 1]


def _folder(path: str, known: dict[str, Folder]) -> Folder:
    found = known.get(path)
    if found is None:
        above = _parent(path) if path not in ("/", "\\") else ""
        name = path[len(above) :].lstrip("/\\") or path
        found = known[path] = Folder(path, visible_name(name))
        _folder(above, known).folders.append(found)
    return found


def _joined(folder: Folder) -> Folder:
    while len(folder.folders) == 1 and not folder.files:
        only = folder.folders[0]
        only.name = f"{folder.name.rstrip('/')}/{only.name}" if folder.name != "/" else f"/{only.name}"
        folder = only
    folder.folders = [_joined(each) for each in folder.folders]
    return folder
