"""What a person can ask of the app by name: each deed is a slash command, a line of the help and of the palette.

One file a group; `every` is the whole list. A deed calls public methods of the app and its session, nothing deeper.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat
    from edge_tui.session.events import Event
    from edge_tui.session.session import Session


@dataclass(frozen=True, slots=True)
class Deed:
    """`name` is what stands behind the slash, `argument` what may follow it, as the help shows it.

    `do` gets the rest of the line; it must also make sense of an empty one, which is what the palette sends.
    `complete` gives what may stand in the place of an argument that was begun. It is called in a thread of its own:
    it may look at the disk and must change nothing. `plain` is the deed in `edge chat --plain`; None: it needs the app.
    """

    name: str
    argument: str
    what: str
    do: Callable[[ChatApp, str], Awaitable[None] | None]
    complete: Callable[[ChatApp, str], Sequence[str]] | None = None
    plain: Callable[[PlainChat, str], None] | None = None

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.argument}".rstrip()


def job(name: str, argument: str, what: str, make: Callable[[Session, str], Iterator[Event]]) -> Deed:
    """A deed that is a job of the session and nothing else, the same in the app and in lines of text."""

    def do(app: ChatApp, line: str) -> None:
        if not app.busy():
            app.submit(make(app.session, line), None)

    def plain(chat: PlainChat, line: str) -> None:
        chat.run(make(chat.session, line))

    return Deed(name, argument, what, do, plain=plain)


def every() -> dict[str, Deed]:
    """All of them by name, in the order of the help."""
    from edge_tui.slash_commands import answers, chats, compare, documents, model, turns, view, welcome
    from edge_tui.slash_commands import app as leaving

    groups = (documents, answers, view, model, compare, chats, turns, welcome, leaving)
    return {deed.name: deed for group in groups for deed in group.DEEDS}
