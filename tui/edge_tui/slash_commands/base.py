"""What a slash command is, and what it may ask of the view in which the conversation is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from edge_tui.session.comparison_job import ComparisonJob
    from edge_tui.session.events import Event
    from edge_tui.session.picker_items import PickerItem
    from edge_tui.session.session import Session

Panel = Literal[
    "add", "chats", "context", "documents", "help", "keys", "remove", "search", "sources", "stale", "theme", "thinking",
    "welcome",
]  # fmt: skip


class View(Protocol):
    """Where a conversation is shown: the app, or lines of text."""

    @property
    def session(self) -> Session: ...

    @property
    def panels(self) -> Mapping[Panel, Callable[[str], None]]:
        """What a view shows in a way of its own, each with the rest of the line."""

    @property
    def theme_names(self) -> Sequence[str]: ...

    def say(self, text: str) -> None:
        """Show what was asked for."""

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show pairs of what can be written and what it does."""

    def fail(self, message: str) -> None:
        """Say what was wrong with a command."""

    def notify(self, message: str) -> None:
        """Say in passing why there is nothing to be done."""

    def busy(self) -> bool:
        """Whether an answer is on its way; the person is then told how to stop it."""

    def submit(self, job: Iterator[Event]) -> None:
        """Run a job of the session and show its events."""

    def ask(self, question: str, *, instead_of: int | None = None) -> None:
        """Ask; with `instead_of` in the place of that question, counted from 1, and of all that follow it."""

    def add_documents(self, paths: Sequence[str | Path], *, again: bool = False) -> None:
        """Add files and folders; `again` reads also what did not change."""

    def compare(self, job: ComparisonJob) -> None:
        """Show the answers of both sides."""

    def choose(
        self,
        title: str,
        items: Callable[[], Sequence[PickerItem]],
        now: str,
        then: Callable[[str], None],
        *,
        usage: str = "",
    ) -> None:
        """Let the person choose an item by its key; `now` is the one in use. Where one can only type, the items are
        listed with `usage`, in which KEY stands for the key."""

    def choose_turn(self, title: str, then: Callable[[int], None]) -> None:
        """Let the person choose a question of this chat, counted from 1; where one can only type it is the last."""

    def edit(self, text: str, hint: str, then: Callable[[str], None], *, usage: str) -> None:
        """Let the person change a text; `then` gets what it became. `usage`: how one types it at once."""

    def copy(self, text: str, what: str) -> None:
        """Hand over a text: to the clipboard where there is one."""

    def restart(self) -> None:
        """Begin a new conversation."""

    def leave(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """`name` is what stands behind the slash, `argument` what may follow it, as the help shows it.

    `run` gets the rest of the line; it must also make sense of an empty one, which is what the palette sends.
    `complete` gives what may stand in the place of an argument that was begun. It is called in a thread of its own:
    it may look at the disk and must change nothing. `app_only`: it makes no sense in lines of text.
    """

    name: str
    argument: str
    description: str
    run: Callable[[View, str], None]
    complete: Callable[[View, str], Sequence[str]] | None = None
    app_only: bool = False

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.argument}".rstrip()


def session_command(
    name: str, argument: str, description: str, job: Callable[[Session, str], Iterator[Event]]
) -> SlashCommand:
    """A command that is a job of the session and nothing else; it waits for no answer that is on its way."""

    def run(view: View, line: str) -> None:
        if not view.busy():
            view.submit(job(view.session, line))

    return SlashCommand(name, argument, description, run)


def show(panel: Panel) -> Callable[[View, str], None]:
    """What a command runs that shows a panel."""
    return lambda view, argument: view.panels[panel](argument)
