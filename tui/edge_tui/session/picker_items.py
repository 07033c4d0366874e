"""The models, adapters and indexes of this machine as lines to choose from, with what decides a choice.

No Textual here. Gathering them reads files: not for the thread that draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge import library
from edge.errors import EdgeError
from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge.model import Model

OFF = "off"
"""The plain base, and no documents."""

_NO_ADAPTER = "there is no adapter yet; /adapter PATH takes one, `edge adapters add PATH` keeps it"

_PARITY = {None: "parity not checked", "proved": "parity proved", "failed": "parity FAILED"}


@dataclass(frozen=True, slots=True)
class PickerItem:
    """`key` is what choosing it gives; `problem` is why that would not work, or what speaks against it."""

    key: str
    name: str
    detail: str = ""
    problem: str = ""


def models() -> list[PickerItem]:
    """Size, quantisation, context, whether it fits into the memory that is free, whether its export was proved."""
    return [_model(entry) for entry in library.models()]


def adapters(model: Model | None) -> list[PickerItem]:
    """The plain base, those that are loaded, those of the library: rank, base, whether it fits `model`."""
    found = [PickerItem(OFF, "the plain base", model.name if model is not None else "")]
    loaded = {adapter.name: adapter for adapter in model.adapters} if model is not None else {}
    kept = {entry.name: Path(entry.path) for entry in library.adapters()}
    for name in dict.fromkeys([*loaded, *kept]):
        where = kept.get(name) or Path(loaded[name].path)
        base = None if name in loaded or model is None else model.path
        found.append(_adapter(name, where, base, is_loaded=name in loaded))
    return found if found[1:] else [replace(found[0], problem=_NO_ADAPTER)]


def adapter_names(model: Model | None) -> list[str]:
    """Those that can be asked for by name: loaded ones and those of the library."""
    loaded = [adapter.name for adapter in model.adapters] if model is not None else []
    return list(dict.fromkeys([*loaded, *(entry.name for entry in library.adapters())]))


def indexes() -> list[PickerItem]:
    """No documents, then the indexes that have a name: documents and passages."""
    return [PickerItem(OFF, "no documents", "the model answers alone"), *map(_index, library.indexes())]


def _model(entry: library.ModelEntry) -> PickerItem:
    from edge_tui.facts import model_facts
    from edge_tui.rendering.units import format_size

    path = Path(entry.path)
    try:
        facts = model_facts.facts(path)
    except (EdgeError, OSError) as error:
        return PickerItem(entry.path, visible_name(entry.name), format_size(entry.bytes), visible_name(str(error)))
    parts = [format_size(entry.bytes), str(facts.get("quantisation") or entry.format)]
    if isinstance(facts.get("context"), int):
        parts.append(f"context {facts['context']:,}")
    state = model_facts.parity_state(path)
    parts.append(_PARITY.get(state, f"parity {state}"))
    problem, memory = (
        "parity FAILED: it does not say what its original says" if state == "failed" else "",
        facts["memory"],
    )
    if isinstance(memory, dict):
        needs, free = format_size(memory["needed"]), format_size(memory["available"])
        if memory["fits"]:
            parts.append(f"fits: {needs} of {free} free")
        else:
            problem = f"does not fit: needs {needs}, and {free} are free"
    return PickerItem(entry.path, visible_name(entry.name), visible_name(" · ".join(parts)), problem)


def _adapter(name: str, path: Path, base: Path | None, *, is_loaded: bool) -> PickerItem:
    from edge_tui.facts import adapter_facts

    try:
        facts = adapter_facts.facts(path)
        misfit = adapter_facts.misfit(path, base) if base is not None else None
    except (EdgeError, OSError) as error:
        return PickerItem(name, visible_name(name), "", visible_name(str(error)))
    parts = []
    if facts.get("ranks"):
        parts.append(f"rank {', '.join(map(str, facts['ranks']))}")
    if facts.get("modules"):
        parts.append(f"{facts['modules']} modules")
    origin = facts.get("trained_on") or facts.get("architecture")
    if origin:
        parts.append(f"for {origin}")
    if is_loaded:
        parts.append("loaded")
    elif base is not None and misfit is None:
        parts.append("fits" if facts["format"] != "onnx" else "whether it fits shows when it is loaded")
    problem = f"does not fit: {misfit}" if misfit else ""
    return PickerItem(name, visible_name(name), visible_name(" · ".join(parts)), visible_name(problem))


def _index(entry: library.IndexEntry) -> PickerItem:
    from edge_index import Index
    from edge_tui.rendering.units import format_size

    try:
        with Index.open(entry.path, create=False) as index:
            documents, passages = len(index.documents()), len(index)
    except (EdgeError, OSError) as error:
        return PickerItem(entry.path, visible_name(entry.name), format_size(entry.bytes), visible_name(str(error)))
    counted = [_counted(documents, "document"), _counted(passages, "passage"), format_size(entry.bytes)]
    return PickerItem(entry.path, visible_name(entry.name), " · ".join(counted))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
