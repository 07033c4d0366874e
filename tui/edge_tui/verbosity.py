"""How much is said on the way: `--verbose`, `--quiet` and `--log FILE`, before a command or behind it.

What is logged goes through the standard library, to loggers below `edge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import logging

_QUIET = "edge.quiet"
_TERMINAL = "edge.verbose"
_FILE = "edge.log"
_SAID = "edge.cli"
"""The logger of what the command line says to people: the terminal shows it already."""


def _begin_terminal(context: click.Context, _option: click.Parameter, times: int) -> None:
    if times:
        import logging

        level = logging.INFO if times == 1 else logging.DEBUG
        handler = _add(context, logging.StreamHandler(), level, "%(name)s: %(message)s")
        handler.addFilter(lambda record: record.name != _SAID)
        context.meta[_TERMINAL] = handler


def _begin_file(context: click.Context, _option: click.Parameter, file: str | None) -> None:
    if file is None:
        return
    import logging

    from edge.errors import StorageError

    try:
        handler = logging.FileHandler(file, encoding="utf-8", errors="replace")
    except OSError as error:
        raise StorageError(f"{file} cannot be written ({error.strerror}); name another file with --log") from error
    _add(context, handler, logging.DEBUG, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    context.meta[_FILE] = True
    logging.getLogger(_SAID).info("edge %s: %s", _version(), context.command_path)


def _begin_quiet(context: click.Context, _option: click.Parameter, quiet: bool) -> None:
    if quiet:
        context.meta[_QUIET] = True


OPTIONS = (
    click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=_begin_terminal,
        help="Say what is done, on standard error; -vv: also what llama.cpp says.",
    ),
    click.Option(
        ["--quiet"],
        is_flag=True,
        expose_value=False,
        callback=_begin_quiet,
        help="Say nothing but results, warnings and errors.",
    ),
    click.Option(
        ["--log"],
        type=click.Path(),
        metavar="FILE",
        expose_value=False,
        callback=_begin_file,
        help="Append everything that is done to a file.",
    ),
)
"""What every command takes."""


def is_quiet() -> bool:
    """Whether progress and remarks are unwanted in the command that runs in this thread."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def log_said(sentence: str) -> None:
    """Put a sentence that a person was told into the log, if there is one."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_FILE):
        import logging

        logging.getLogger(_SAID).info(sentence)


def log_failure(context: click.Context, error: Exception) -> None:
    """Put what ends the command into the log, if there is one, with the place in the code."""
    if context.meta.get(_FILE):
        import logging

        logging.getLogger(_SAID).error(str(error), exc_info=error)


def leave_the_screen() -> None:
    """From now on the terminal belongs to the app: only --log FILE is written on."""
    import logging

    handler = click.get_current_context().meta.get(_TERMINAL)
    if handler is not None:
        logging.getLogger("edge").removeHandler(handler)


def _add(context: click.Context, handler: logging.Handler, level: int, form: str) -> logging.Handler:
    """Listen to `edge` until the command line ends."""
    import logging

    logger = logging.getLogger("edge")
    handler.setLevel(level)
    handler.setFormatter(_formatter(form))
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.level or level))

    def end() -> None:
        logger.removeHandler(handler)
        handler.close()
        if not any(each.level for each in logger.handlers):
            logger.setLevel(logging.NOTSET)

    context.find_root().call_on_close(end)
    return handler


def _formatter(form: str) -> logging.Formatter:
    import logging

    from edge_tui.terminal import message

    class Formatter(logging.Formatter):
        """Names and texts of files are foreign: nothing of them steers a terminal."""

        def format(self, record: logging.LogRecord) -> str:
            return message(super().format(record))

    return Formatter(form)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("edge-expert")
    except PackageNotFoundError:
        return "without a version"
