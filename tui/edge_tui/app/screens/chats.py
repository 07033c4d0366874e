"""The chats that are kept: found while one types, opened, renamed, deleted and brought back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from edge.errors import EdgeError
from edge_tui.history.records import ChatEntry, Hit
from edge_tui.history.store import Store
from edge_tui.terminal import printable, visible_name

Result = TypeVar("Result")

_MOST = 500
"""Chats in the list; older ones are found by searching."""

_KEYS = "↑ ↓ choose · Enter opens · ^R renames · ^D deletes · ^Z undoes · Esc leaves"
_RENAMING = "Enter gives the chat this name · Esc leaves it as it was"


class ChatsScreen(ModalScreen[int | None]):
    """Dismisses with the id of the chosen chat, None when it was left with Esc.

    `visit` opens a store, on another thread than the one that draws; `deleted` is told the id of a chat that was
    deleted here. `words` are searched for from the start.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", priority=True),
        Binding("up", "move('cursor_up')"),
        Binding("down", "move('cursor_down')"),
        Binding("pageup", "move('page_up')"),
        Binding("pagedown", "move('page_down')"),
        Binding("ctrl+r", "rename", priority=True),
        Binding("ctrl+d", "delete", priority=True),
        Binding("ctrl+z", "undo", priority=True),
    ]

    def __init__(
        self, visit: Callable[[], Store], words: str = "", deleted: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        super().__init__()
        self._visit = visit
        self._words = words
        self._deleted = deleted
        self._entries: dict[int, ChatEntry] = {}
        self._renaming: int | None = None
        self._said = False
        self._title = Label("Chats", id="chats-title", markup=False)
        self._input = Input(placeholder="search", compact=True)
        self._list = OptionList(markup=False, compact=True)
        self._note = Static("", id="chats-note")
        self._keys = Label(_KEYS, id="chats-keys", markup=False)

    def compose(self) -> ComposeResult:
        self._list.can_focus = False
        with Vertical(id="chats"):
            yield self._title
            yield self._input
            yield self._list
            yield self._note
            yield self._keys

    def on_mount(self) -> None:
        self._input.value = self._words
        self._input.focus()
        self._look()

    # What the person does -----------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._renaming is None and event.value != self._words:
            self._words = event.value
            self._say("")
            self._look()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        number = self._renaming
        if number is None:
            if self._chosen is not None:
                self.dismiss(self._chosen)
        elif event.value.strip():
            self._end_renaming()
            await self._change(lambda store: store.rename(number, event.value))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(int(event.option.id or 0))

    def action_leave(self) -> None:
        if self._renaming is None:
            self.dismiss(None)
        else:
            self._end_renaming()

    def action_move(self, how: str) -> None:
        getattr(self._list, f"action_{how}")()

    def action_rename(self) -> None:
        number = self._chosen
        if number is not None and self._renaming is None:
            self._renaming = number
            self._title.update("Rename")
            self._keys.update(_RENAMING)
            self._input.value = self._entries[number].title
            self._input.action_end()

    async def action_delete(self) -> None:
        number = self._chosen
        if number is None or self._renaming is not None:
            return
        title = visible_name(self._entries[number].title)
        if await self._change(lambda store: store.delete(number)):
            if self._deleted is not None:
                await self._deleted(number)
            self._say(f"“{title}” is deleted; Ctrl+Z brings it back.")

    async def action_undo(self) -> None:
        back: list[ChatEntry | None] = []
        if self._renaming is None and await self._change(lambda store: back.append(store.undo())):
            entry = back[0]
            self._say(f"“{visible_name(entry.title)}” is back." if entry else "There is nothing to bring back.")

    # Inside -------------------------------------------------------------------------------------------------

    @property
    def _chosen(self) -> int | None:
        option = self._list.highlighted_option
        return int(option.id) if option is not None and option.id is not None else None

    def _end_renaming(self) -> None:
        self._renaming = None
        self._title.update("Chats")
        self._keys.update(_KEYS)
        self._input.value = self._words

    def _look(self, chosen: int | None = None) -> None:
        """Draw the list anew, with that chat chosen if it is there, else the first."""
        self.run_worker(self._search(self._words, chosen), exclusive=True, group="look")

    async def _change(self, do: Callable[[Store], object]) -> bool:
        """Change something that is kept, then look again; whether it could be done."""
        try:
            await asyncio.to_thread(self._with, do)
        except EdgeError as error:
            self._say(str(error), bad=True)
            return False
        self._look(self._chosen)
        return True

    async def _search(self, words: str, chosen: int | None) -> None:
        def find(store: Store) -> Sequence[Hit]:
            found = store.search(words) if words.strip() else [Hit(entry, "title", "") for entry in store.chats()]
            return found[:_MOST]

        try:
            hits = await asyncio.to_thread(self._with, find)
        except EdgeError as error:
            self._say(str(error), bad=True)
            return
        self._entries = {hit.chat.id: hit.chat for hit in hits}
        self._list.clear_options()
        self._list.add_options([Option(_row(hit), id=str(hit.chat.id)) for hit in hits])
        if hits:
            self._list.highlighted = next((at for at, hit in enumerate(hits) if hit.chat.id == chosen), 0)
        elif not self._said:
            none = "No chat is kept yet; every first question begins one."
            self._say("No chat holds all these words." if words.strip() else none)

    def _with(self, do: Callable[[Store], Result]) -> Result:
        with self._visit() as store:
            return do(store)

    def _say(self, text: str, *, bad: bool = False) -> None:
        self._said = bool(text)
        self._note.update(Content(text))
        self._note.set_class(bad, "-error")


def _row(hit: Hit) -> Content:
    chat = hit.chat
    when = datetime.fromisoformat(chat.updated).astimezone().strftime("%Y-%m-%d %H:%M")
    who = visible_name(chat.model + (f" + {chat.adapter}" if chat.adapter else ""))
    count = "1 question" if chat.questions == 1 else f"{chat.questions} questions"
    about = " · ".join(filter(None, (when, who, count)))
    lines = [Content.assemble((visible_name(chat.title), "bold")), Content.styled(f"  {about}", "dim")]
    if hit.excerpt and hit.role != "title" and hit.excerpt != chat.title:
        lines.append(Content.styled(f"  {printable(hit.excerpt)}", "italic"))
    return Content("\n").join(lines)
