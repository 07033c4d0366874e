"""Every key that does something: its name in `[keys]` of config.toml, what it is unless told, and what it does.

The app's bindings, the help and the line at the bottom come from this table, so that what is shown is what works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.errors import UsageError
from edge.system.suggestions import did_you_mean

Place = Literal["app", "prompt", "input", "sources"]

NONE = "none"
"""What Textual is told in the place of a key: no terminal sends it, and nothing would leave the default as it was."""


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is the entry of `[keys]` and the id of the binding; `default` is one key, or several with commas.

    `short` stands in the line at the bottom, where it is not empty. `first`: before the widget sees the key. What is
    in place "prompt" is no binding: the prompt itself reads it among the letters, or Enter would overtake them.
    """

    name: str
    default: str
    action: str
    what: str
    place: Place = "app"
    short: str = ""
    first: bool = True


KEYS = (
    Key("send", "enter", "send", "send", "prompt", "send"),
    Key("newline", "ctrl+j", "newline", "begin a new line", "prompt"),
    Key("stop", "escape", "stop", "stop the answer, or take a waiting question back", short="stop", first=False),
    Key("sources", "ctrl+o", "command('sources')", "go to the sources, or close them", short="sources"),
    Key("add", "ctrl+l", "command('add')", "add documents", short="add documents"),
    Key("documents", "f2", "command('documents')", "all documents: read again, remove", first=False),
    Key("compare", "ctrl+r", "compare", "put the question to two sides", first=False),
    Key("copy", "ctrl+y", "command('copy')", "copy the last answer", short="copy"),
    Key("code", "ctrl+g", "command('code')", "copy the last block of code"),
    Key(
        "thinking",
        "f3",
        "thinking",
        "show what was thought before the last answer, or hide it",
        first=False,
    ),
    Key("context", "ctrl+t", "command('context')", "show where the context went, or hide it"),
    Key("page-up", "pageup", "app.page(-1)", "scroll the conversation up", "input", first=False),
    Key("page-down", "pagedown", "app.page(1)", "scroll the conversation down", "input", first=False),
    Key("previous-source", "left,p", "move(-1)", "the source before", "sources", first=False),
    Key("next-source", "right,n", "move(1)", "the source after", "sources", first=False),
    Key("palette", "ctrl+p", "command_palette", "everything, by name"),
    Key("interrupt", "ctrl+c", "interrupt", "stop, else empty the input", first=False),
    Key("quit", "ctrl+q", "quit", "leave", short="quit"),
)

FIXED = (
    ("↑ ↓", "bring earlier lines back, or scroll the sources"),
    ("Tab", "complete what begins with a slash"),
    ("1–9", "that source"),
)
"""What the help adds: these are part of the widgets and have no entry."""

# What a terminal sends for them is what it sends for another key.
_SAME = {
    "ctrl+i": "Tab",
    "ctrl+m": "Enter",
    "ctrl+h": "Backspace",
    "ctrl+left_square_bracket": "Esc",
    "ctrl+[": "Esc",
    "shift+enter": "Enter",
    "ctrl+enter": "Enter",
    "alt+enter": "Esc and Enter",
    "ctrl+tab": "Tab",
    "ctrl+backspace": "Backspace",
    "shift+space": "Space",
    "shift+backspace": "Backspace",
}
_LABELS = {
    "enter": "Enter",
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "tab": "Tab",
    "space": "Space",
    "home": "Home",
    "end": "End",
    "delete": "Del",
    "insert": "Ins",
    "backspace": "Backspace",
    "ctrl": "Ctrl",
    "shift": "Shift",
    "alt": "Alt",
}
_NAMED = {"enter", "escape", "pageup", "pagedown", "left", "right", "up", "down", "tab", "space", "home", "end"} | {
    *("delete", "insert", "backspace"),
    *(f"f{number}" for number in range(1, 25)),
}


def keymap(entries: Mapping[str, str], *, source: str = "[keys]", new: str = "") -> dict[str, str]:
    """Which keys each action has: `entries`, and the defaults as far as those leave them; "" for none.

    Raises UsageError, naming the entry, for an action that there is not, a key that is none or that terminals cannot
    send, for one key that was given two meanings in the same place, and where nothing would be left that sends. The
    entry `new`, which is being made, may not take a key from a default either.
    """
    known = {key.name: key for key in KEYS}
    chosen = {key.name: key.default for key in KEYS}
    for name, value in entries.items():
        if name not in known:
            meant = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
            raise UsageError(f"{source}: there is no action {name!r}{meant}")
        wanted = [each.strip().lower() for each in value.split(",")]
        for each in wanted:
            problem = _problem(each, typed=known[name].place != "sources")
            if problem:
                raise UsageError(f"{source}: {name} = {value!r}: {problem}")
        chosen[name] = ",".join(wanted)
    _resolve_two_meanings(chosen, set(entries), source, new)
    return chosen


def label(keys: str, *, short: bool = False) -> str:
    """`keys` as people write them: Ctrl+O, or ^O where room is short."""
    return " ".join(_label(each, short) for each in keys.split(","))


def lines(chosen: Mapping[str, str]) -> list[tuple[str, str]]:
    """(keys, what they do) for the help, as they are now."""
    places: dict[Place, str] = {"app": "", "prompt": "", "input": "", "sources": " (in the sources)"}
    own = [(label(chosen[key.name]), f"{key.what}{places[key.place]}") for key in KEYS if chosen[key.name]]
    return [*own, *FIXED]


def names(chosen: Mapping[str, str]) -> list[tuple[str, str]]:
    """(entry of `[keys]` as it would be written, what it does)."""
    return [(f'{key.name} = "{chosen[key.name]}"', key.what) for key in KEYS]


def of(place: Place) -> Sequence[Key]:
    return [key for key in KEYS if key.place == place]


def _label(key: str, short: bool) -> str:
    *held, last = key.split("+") if len(key) > 1 else [key]
    name = _LABELS.get(last, last.upper() if held or len(last) > 1 else last)
    if short and held == ["ctrl"]:
        return f"^{name}"
    return "+".join([*(_LABELS[each] for each in held), name])


def _problem(key: str, *, typed: bool) -> str | None:
    """Why `key` cannot be taken; `typed`: what people type goes to the input there."""
    if key in _SAME:
        return f"terminals send {_label(key, False)} as {_SAME[key]}; take another key"
    *held, last = key.split("+") if len(key) > 1 else [key]
    if set(held) - {"ctrl", "shift", "alt"} or not (last in _NAMED or (len(last) == 1 and last.isprintable())):
        return f"{key!r} is no key; write it like ctrl+g, f2, alt+x or pageup"
    if len(last) == 1 and "shift" in held:
        return "terminals do not tell Shift with a letter from the capital letter; take another key"
    if len(last) == 1 and "ctrl" in held and not (last.isascii() and last.isalpha()):
        return f"not every terminal can send {_label(key, False)}; take Ctrl with a letter, or a key like f2"
    if typed and not held and (len(last) == 1 or last == "space"):
        return "it could not be typed any more; take a key with ctrl or alt, or one like f2"
    return None


def _resolve_two_meanings(chosen: dict[str, str], entries: set[str], source: str, new: str) -> None:
    """Of two actions in one place that have a key the one keeps it for which a person chose it."""
    place_of = {key.name: key.place for key in KEYS}
    taken: dict[tuple[str, str], str] = {}
    for name in sorted(chosen, key=lambda name: name not in entries):
        places = {"app": ("input", "sources"), "sources": ("sources",)}.get(place_of[name], ("input",))
        left = []
        for key in chosen[name].split(","):
            others = [taken[place, key] for place in places if taken.get((place, key), name) != name]
            if others and (name in entries or name == "send" or new in others):
                raise UsageError(f"{source}: {label(key)} would mean both {others[0]} and {name}; change one of them")
            if not others:
                left.append(key)
                taken |= dict.fromkeys([(place, key) for place in places], name)
        chosen[name] = ",".join(left)
