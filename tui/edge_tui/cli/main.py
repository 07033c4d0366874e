"""The door of the `edge` command line: finds the command that was called, and the only place where errors
become a sentence and an exit code (0 done, 1 an error, 2 wrong usage, 4 the documents do not tell, 130 interrupted).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, TextIO

import click

import edge.system.offline
from edge.errors import EdgeError
from edge_tui import verbosity
from edge_tui.click_types import Group
from edge_tui.terminal import guarded, message

COMMANDS = {
    "ask": "Answer one question from your documents.",
    "chat": "Talk with your documents in a terminal app.",
    "chats": "List, show, search, export and remove kept chats.",
    "index": "Build and search indexes of your documents.",
    "models": "List, show, fetch, import and remove models.",
    "adapters": "List, keep, show and remove LoRA adapters.",
    "convert": "Turn base models and LoRAs into GGUF and ONNX, with proof.",
    "data": "Check, convert and split examples to train on.",
    "tune": "Tune a LoRA or QLoRA on your examples.",
    "compare": "Ask the same questions with and without documents and tuning.",
    "advise": "Say whether documents, tuning, both or neither is worth it.",
    "doctor": "Look whether everything is in place.",
    "config": "List, get, set and edit the settings.",
    "paths": "Show where edge keeps its files.",
}


class LazyGroup(Group):
    """Imports a command's module when the command is called, and none of them for `edge --help`."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with guarded():
            # The streams leave styles out where none are wanted; click would take a file name's escapes for styles.
            return super().main(*args, color=True, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def find_command(self, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"edge_tui.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            verbosity.log_failure(ctx, error)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="edge COMMAND --help explains a command and shows an example. --verbose, --quiet and --log may also stand "
    "behind a command. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted.",
    params=[*verbosity.OPTIONS],
)
@click.version_option(package_name="edge-expert", prog_name="edge")
def cli() -> None:
    """Ask your own documents, offline, with a small language model on your own machine.

    \b
    First steps:
      edge models pull starter
      edge ask "When is the pump due for maintenance?" --docs manuals/
      edge chat --docs manuals/
    """
    from edge.system.relocation import move_old_places

    for problem in move_old_places():
        click.echo(f"edge: {problem}", err=True)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process."""
    edge.system.offline.silence()
    _leave(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    with guarded():
        return _call(arguments)


def _call(arguments: Sequence[str] | None) -> int:
    try:
        status = cli.main(args=arguments, prog_name="edge", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name == "-q":
            error = click.UsageError("-q is --quantisation, where there is one; did you mean --quiet?", error.ctx)
        error.show()
        return error.exit_code
    except EdgeError as error:
        return _say(str(error), 1)
    except BrokenPipeError:
        return 1
    except MemoryError:
        return _say("there is not enough memory; close other programs or take a smaller model", 1)
    except OSError as error:
        return _say(_os_error(error), 1)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    return status if isinstance(status, int) else 0


def _say(sentence: str, status: int) -> int:
    print(message(f"edge: {sentence}"), file=sys.stderr)
    return status


def _os_error(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run it again"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _leave(status: int) -> NoReturn:
    """End the process, at once when a model is still being loaded in a thread: nobody waits for it."""
    import threading

    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except BrokenPipeError:
        # The reader has gone; what Python would still write to it when it ends goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
