"""`[keys]` of config.toml: what can be chosen, and how a wrong entry is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.settings import load_settings
from edge_tui.app import keys


def test_no_default_is_a_key_that_terminals_cannot_send() -> None:
    everything = {key.name: key.default for key in keys.KEYS}
    assert keys.keymap(everything) == everything == keys.keymap({})


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"copi": "f2"}, ["no action 'copi'", "copy"]),
        ({"copy": "ctrl+i"}, ["copy = 'ctrl+i'", "Ctrl+I as Tab"]),
        ({"copy": "ctrl+m"}, ["copy", "as Enter"]),
        ({"newline": "shift+enter"}, ["newline", "as Enter"]),
        ({"copy": "ctrl+o"}, ["Ctrl+O would mean both", "sources", "copy"]),
        ({"copy": "ctrl+g", "code": "ctrl+g"}, ["Ctrl+G would mean both", "code", "copy"]),
        ({"copy": "enter"}, ["Enter would mean both", "send", "copy"]),
        ({"copy": "x"}, ["could not be typed"]),
        ({"copy": "shift+a"}, ["Shift with a letter"]),
        ({"copy": "ctrl+1"}, ["not every terminal"]),
        ({"copy": "hyper+x"}, ["'hyper+x' is no key"]),
        ({"copy": ""}, ["'' is no key"]),
    ],
)
def test_a_wrong_entry_is_named(entries: dict[str, str], words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        keys.keymap(entries, source="config.toml", new="copy")
    for word in ("config.toml", *words):
        assert word in str(raised.value)


def test_keys_can_be_exchanged_and_several() -> None:
    chosen = keys.keymap({"copy": "ctrl+o", "sources": "CTRL+Y", "quit": "f10, alt+q"})
    assert (chosen["copy"], chosen["sources"], chosen["quit"]) == ("ctrl+o", "ctrl+y", "f10,alt+q")
    assert ("F10 Alt+Q", "leave") in keys.lines(chosen)


def test_a_default_gives_way_to_what_a_person_chose() -> None:
    """Else a later version that gives a key to something new would refuse an older file."""
    chosen = keys.keymap({"copy": "ctrl+o", "code": "ctrl+p"})
    assert (chosen["copy"], chosen["sources"], chosen["palette"]) == ("ctrl+o", "", "")
    assert [what for label, what in keys.lines(chosen) if not label] == []
    assert keys.keymap({"copy": "left"})["previous-source"] == "p", "one of two keys is left"


def test_labels() -> None:
    assert keys.label("ctrl+o") == "Ctrl+O"
    assert keys.label("ctrl+o", short=True) == "^O"
    assert keys.label("pageup,f2,n") == "PgUp F2 n"


def test_the_table_is_read_from_config_toml(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('k = 3\n[keys]\ncopy = "f2"\n')
    settings = load_settings(environment={}, config=config)
    assert settings.keys == (("copy", "f2"),)
    assert settings.k == 3


@pytest.mark.parametrize(
    ("text", "words"), [("keys = 3", "must be a table"), ("[keys]\ncopy = 3", "copy must be a text")]
)
def test_a_table_that_is_none_is_said(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=words) as raised:
        load_settings(environment={}, config=config)
    assert str(config) in str(raised.value)
