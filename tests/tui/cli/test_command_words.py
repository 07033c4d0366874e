"""The whole tree of commands: one letter, one meaning; one concept, one name; every name explained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edge_tui.cli.main import _run, cli
from edge_tui.click_types import Choice, Option

MEANINGS = {
    "-a": "--adapter",
    "-C": "--context",
    "-c": "--continue",
    "-h": "--help",
    "-k": "-k",
    "-m": "--model",
    "-o": "--output",
    "-p": "--precision",
    "-q": "--quantisation",
    "-s": "--system",
    "-v": "--verbose",
    "-y": "--yes",
}
GIVEN_UP = ("--out", "--as", "--base-out", "--anew", "--overwrite")


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = list(commands())


def options(command: click.Command) -> list[click.Option]:
    found = command.get_params(click.Context(command))
    return [option for option in found if isinstance(option, click.Option)]


def test_a_letter_means_the_same_in_every_command() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for _, command in LEAVES:
        for option in options(command):
            long = next((name for name in option.opts if name.startswith("--")), option.opts[0])
            for name in option.opts:
                if not name.startswith("--"):
                    meanings[name].add(long)
    assert {letter: found for letter, found in meanings.items() if found != {MEANINGS.get(letter)}} == {}


def test_a_concept_has_one_name_and_its_letter_everywhere() -> None:
    letters = {long: letter for letter, long in MEANINGS.items() if long not in ("-k", "--context", "--help")}
    for path, command in LEAVES:
        for option in options(command):
            assert not set(option.opts) & set(GIVEN_UP), path
            for name in option.opts:
                if name in letters:
                    assert letters[name] in option.opts, (path, name)


def test_every_option_is_explained() -> None:
    assert [(path, option.opts) for path, command in LEAVES for option in options(command) if not option.help] == []


def test_old_names_are_taken_and_not_shown() -> None:
    """What was written into scripts means what it meant."""
    taken = 0
    for path, command in LEAVES:
        for option in options(command):
            for old in getattr(option, "old", ()):
                taken += 1
                given = [old] if option.is_flag else [old, "0.5"]
                context = command.make_context(path[-1], given, resilient_parsing=True)
                wanted = {"--precision": "quantisation"}.get(old, option.name)
                assert str(context.params[str(wanted)]) in ("0.5", "True"), (path, old)
                shown = CliRunner().invoke(cli, [*path, "--help"]).stdout
                assert f"{old} " not in shown, (path, old)
    assert taken >= 14


def test_old_words_are_taken_and_not_shown() -> None:
    (path,) = [path for path, command in LEAVES if getattr(command, "old", ()) == ("redo",)]
    assert path == ("index", "rebuild")
    taken = CliRunner().invoke(cli, ["index", "redo", "--help"])
    assert (taken.exit_code, "index redo [OPTIONS]" in taken.stdout) == (0, True)
    assert "redo" not in CliRunner().invoke(cli, ["index", "--help"]).stdout


def test_every_choice_says_what_was_meant() -> None:
    for path, command in LEAVES:
        for option in options(command):
            if isinstance(option.type, click.Choice):
                assert isinstance(option.type, Choice), (path, option.opts)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("asc", "why?"), "did you mean ask?"),
        (("index", "serch"), "did you mean search?"),
        (("models", "pul"), "did you mean pull?"),
        (("ask", "why?", "--modle", "x"), "--model"),
        (("ask", "why?", "--kv-type", "q8"), "did you mean q8_0"),
        (("models", "pull", "startr"), "did you mean starter?"),
        (("ask", "why?", "-q"), "--quiet"),
    ],
)
def test_a_typing_error_gets_what_was_meant(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(arguments) == 2
    assert said in capsys.readouterr().err


def test_an_option_knows_its_old_names_only_while_it_parses() -> None:
    option = Option(["--new"], old=["--old"])
    command = click.Command("c", params=[option])
    assert command.make_context("c", ["--old", "x"]).params == {"new": "x"}
    assert option.opts == ["--new"]
