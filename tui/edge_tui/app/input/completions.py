"""What may stand in the place of a slash command that was begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_tui.terminal import visible_name

if TYPE_CHECKING:
    from edge_tui.slash_commands import Deed

Arguments = Callable[["Deed", str], Sequence[str]]
"""What may stand in the place of an argument that was begun, for one deed."""


@dataclass(frozen=True, slots=True)
class Completion:
    """`line` replaces what was typed; `label` and `what` are what a person reads. `whole`: it can be sent as it is."""

    line: str
    label: str
    what: str
    whole: bool = False


def wanted(text: str) -> bool:
    """Whether a text is a command in the making: one line that begins with a slash."""
    return text.startswith("/") and "\n" not in text


def completions(text: str, deeds: Mapping[str, Deed], arguments: Arguments) -> list[Completion]:
    """The deeds that fit a name, or what fits the argument behind it. May look at the disk."""
    if not wanted(text):
        return []
    name, blank, begun = text[1:].partition(" ")
    if blank:
        deed = deeds.get(name.lower())
        if deed is None or deed.complete is None:
            return []
        begun = begun.lstrip()
        return [
            Completion(f"/{deed.name} {each}", visible_name(each), "", not each.endswith("/"))
            for each in arguments(deed, begun)
            if each != begun
        ]
    first = [deed for deed in deeds.values() if deed.name.startswith(name.lower())]
    inside = [deed for deed in deeds.values() if deed not in first and len(name) > 1 and name.lower() in deed.name]
    return [_named(deed) for deed in [*first, *inside] if text != f"/{deed.name}" or deed.argument]


def _named(deed: Deed) -> Completion:
    needs_more = bool(deed.argument)
    return Completion(f"/{deed.name}{' ' if needs_more else ''}", deed.usage, deed.what, not needs_more)
