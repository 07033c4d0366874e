"""`edge chat --plain`: lines in, lines out; the same session and the same slash commands as in the app.

Answers and lists go to standard output, how far things are and what went wrong to standard error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from edge.system.suggestions import did_you_mean
from edge_tui.plain.lines import Lines
from edge_tui.plain.panels import panels_of
from edge_tui.plain.view import LineView
from edge_tui.slash_commands import parser
from edge_tui.slash_commands.registry import all_commands

if TYPE_CHECKING:
    from edge_tui.session.session import Session

_CLOSING_SECONDS = 3.0


class PlainChat(LineView):
    """A conversation that reads lines and writes lines. With `invite` it says when it waits for one."""

    def __init__(self, session: Session, lines: TextIO, out: TextIO, err: TextIO, *, invite: bool) -> None:
        super().__init__(session, Lines(out, err))
        self.panels |= {**panels_of(self), "help": self._help}
        self.commands = {name: command for name, command in all_commands().items() if not command.app_only}
        self._input = lines
        self._invite = invite

    def loop(self) -> int:
        """Talk until the lines end. The exit status: 1 where something failed and no person was there to see it."""
        self.worker.start()
        self.lines.status("Loading the model.")
        self.session.load(self.worker.events.append)
        try:
            self.run(self.session.open(self.note_progress))
            self._wait_for_model()
            if self._invite:
                self.lines.status(
                    "Ask a question. /help lists what else there is, Ctrl+C stops an answer, Ctrl+D leaves."
                )
            while not self.leaving and (line := self._next_line()) is not None:
                self._obey(line)
        finally:
            self.session.stop()
            self.worker.submit(self.session.close())
            self.worker.close()
            self.worker.join(_CLOSING_SECONDS)
        return int(self.lines.failed and not self._invite)

    def _wait_for_model(self) -> None:
        """Until the model is there or is known not to come; Ctrl+C ends the waiting, not the loading."""
        try:
            while not self.loaded:
                for event in self.wait_for_events():
                    self.show(event)
        except KeyboardInterrupt:
            self.lines.status("The model is still being loaded. Questions wait for it; their sources come at once.")

    def _next_line(self) -> str | None:
        """The next line without its end; None when there is none any more."""
        while True:
            for event in self.worker.drain():  # a model that came while nobody looked
                self.show(event)
            try:
                if self._invite:
                    self.lines.invite("You: ")
                line = self._input.readline()
            except KeyboardInterrupt:
                self.lines.status("", "Ctrl+D leaves.")
                continue
            if not line:
                if self._invite:
                    self.lines.status("")
                return None
            return line.rstrip("\r\n")

    def _obey(self, line: str) -> None:
        if not line.strip():
            return
        typed = parser.parse(line)
        if typed is None:
            self.ask(line.strip())
        elif typed.name in self.commands:
            self.commands[typed.name].run(self, typed.argument)
        elif typed.name in all_commands():
            self.fail(f"/{typed.name} needs the app: start edge chat without --plain. /help lists what works here.")
        else:
            meant = did_you_mean(typed.name, self.commands, mark="/")
            self.fail(f"There is no /{typed.name}{meant}; /help lists what there is. A space before the slash asks it.")

    def _help(self, _argument: str) -> None:
        self.table([(command.usage, command.description) for command in self.commands.values()])
        self.say("Anything else is a question. Ctrl+C stops an answer, Ctrl+D leaves.")
