"""`edge config`: every setting, what it is now and who said so, and the file in which to change it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tui.click_types import Group

if TYPE_CHECKING:
    from edge.settings import Resolved

_KEYS = "keys."
"""What the entries of [keys] begin with."""


@click.group(cls=Group)
def config() -> None:
    """List, get, set and edit the settings.

    Flags win over EDGE_* variables (EDGE_MODEL, EDGE_K …), these over config.toml, this over what edge does unless
    told. The keys of the app are settings called keys.ACTION, such as keys.copy.
    """


@config.command("list", epilog="Example: edge config list --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(as_json: bool) -> None:
    """List every setting with its value, its type, its default, and where the value came from."""
    from edge_tui.cli.output import print_json, print_table

    found = _resolved()
    if as_json:
        print_json(found)
        return
    header = ("SETTING", "VALUE", "TYPE", "DEFAULT", "FROM")
    rows = [(e.name, _word(e.value), _kind(e), _word(e.default), e.origin or "default") for e in found]
    print_table(header, rows)


@config.command(epilog="Example: edge config get model")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with type, default and origin.")
def get(name: str, as_json: bool) -> None:
    """Print the value of a setting, nothing for one that is not set."""
    from edge_tui.cli.output import print_json

    name = _require(name)
    (found,) = [each for each in _resolved() if each.name == name]
    if as_json:
        print_json(found)
    elif found.value is not None:
        click.echo(_word(found.value))


@config.command("set", epilog="Examples: edge config set model phi3 · edge config set keys.copy ctrl+y")
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Write a setting into config.toml; its comments stay. A value that the setting does not take is refused."""
    import os

    from edge.settings import spellings, variable_of
    from edge.system import paths
    from edge_tui import config_file
    from edge_tui.cli.output import status, warn

    file, name = paths.config_file(), _require(name)
    checked = _checked(name, value, file)
    config_file.set_value(file, *_place(name), checked)
    status(f"{name} = {_word(checked)} stands in {file}.")
    for variable in map(variable_of, spellings(name)):
        if os.environ.get(variable):
            warn(f"{variable} is set in your environment and wins over it.")


@config.command(epilog="Example: edge config unset model")
@click.argument("name")
def unset(name: str) -> None:
    """Take a setting out of config.toml, one that edge does not know as well."""
    from edge.errors import UsageError
    from edge.settings import RENAMED, spellings
    from edge.system import paths
    from edge_tui import config_file
    from edge_tui.cli.output import status

    file, name = paths.config_file(), RENAMED.get(name, name)
    removed = [config_file.unset_value(file, *_place(each)) for each in spellings(name)]
    if not any(removed):
        _require(name)
        raise UsageError(f"{name} is not set in {file}; edge config list shows where its value comes from")
    status(f"{name} no longer stands in {file}.")


@config.command(epilog="Example: EDITOR=nano edge config edit")
def edit() -> None:
    """Open config.toml in $VISUAL or $EDITOR, and say whether it can be used as it is then."""
    from edge.settings import load_settings
    from edge.system import paths
    from edge_tui import config_file
    from edge_tui.app.keys import keymap
    from edge_tui.cli.output import status

    file = paths.config_file()
    if not file.exists():
        config_file.create(file, _template())
    click.edit(filename=str(file))
    keymap(dict(load_settings(config=file, environment={}).keys), source=f"{file}, [keys]")
    status(f"{file} can be used as it is.")


@config.command(epilog="Example: edge config path")
def path() -> None:
    """Print where config.toml lies; it need not exist."""
    from edge.system import paths

    click.echo(str(paths.config_file()))


def _resolved() -> list[Resolved]:
    """The settings as every command merges them, and after them the keys of the app."""
    from edge.settings import Resolved, load_settings, resolve_settings
    from edge.system import paths
    from edge_tui.app.keys import KEYS, keymap

    file = paths.config_file()
    written = dict(load_settings(config=file).keys)
    chosen = keymap(written, source=f"{file}, [keys]")
    keys = [
        Resolved(
            name=f"{_KEYS}{key.name}",
            value=chosen[key.name],
            default=key.default,
            type="str",
            source="config" if key.name in written else "default",
            origin=str(file) if key.name in written else "",
            choices=(),
            about=key.what,
        )
        for key in KEYS
    ]
    return [*resolve_settings(config=file), *keys]


def _names() -> list[str]:
    from edge.settings import NAMES
    from edge_tui.app.keys import KEYS

    return [*NAMES, *(f"{_KEYS}{key.name}" for key in KEYS)]


def _require(name: str) -> str:
    """The name that the setting has today. Raises UsageError, with what may be meant, for one that there is not."""
    from edge.errors import UsageError
    from edge.settings import RENAMED
    from edge.system.suggestions import did_you_mean

    known, name = _names(), RENAMED.get(name, name)
    if name not in known:
        raise UsageError(f"there is no setting {name!r}{did_you_mean(name, known) or '; known: ' + ', '.join(known)}")
    return name


def _checked(name: str, value: str, file: Path) -> Any:
    """The value as TOML will hold it. Raises UsageError."""
    from edge.settings import check_setting, read_config
    from edge_tui.app.keys import keymap

    if not name.startswith(_KEYS):
        return check_setting(name, value, "edge config set")
    written = read_config(file).get("keys", {})
    action = name.removeprefix(_KEYS)
    keymap({**(written if isinstance(written, dict) else {}), action: value}, source=_KEYS[:-1], new=action)
    return value


def _place(name: str) -> tuple[str | None, str]:
    """The table of config.toml, None above all tables, and the key in it."""
    return ("keys", name.removeprefix(_KEYS)) if name.startswith(_KEYS) else (None, name)


def _word(value: object) -> str:
    """A value as it would be given to `edge config set`; "" where there is none."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(setting: Resolved) -> str:
    return "|".join(setting.choices) or setting.type


def _template() -> str:
    """A config.toml to begin with: every setting, none of them set."""
    import json

    from edge.settings import resolve_settings
    from edge_tui.app.keys import KEYS

    lines = ["# The settings of edge: take the # away from a line to set it.", ""]
    for each in resolve_settings(environment={}):
        value = f"…  # ({_kind(each)}) " if each.default is None else f"{json.dumps(each.default)}  # "
        lines.append(f"# {each.name} = {value}{each.about}")
    lines += ["", "# [keys]"]
    lines += [f"# {key.name} = {json.dumps(key.default)}  # {key.what}" for key in KEYS]
    return "\n".join(lines) + "\n"
