"""Texts that were written with a chat template already -> turns, by the marks that the template itself writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from edge.errors import ModelError
from edge.types import Message, Role

if TYPE_CHECKING:
    from edge.engines.chat_template import ChatTemplate

_SYSTEM, _USER, _REPLY, _USER_2, _REPLY_2 = "Rule0one", "Ask1one", "Tell1one", "Ask2two", "Tell2two"


class Markers:
    """The marks between turns, found by rendering a conversation whose contents are known.

    White space inside and around a mark may differ: trainers and people are careless with it.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._bos, self._eos = template.bos, template.eos
        conversation = [Message("user", _USER), Message("assistant", _REPLY), Message("user", _USER_2)]
        self._between: dict[str, Role] = {}
        try:
            plain = template.render([*conversation, Message("assistant", _REPLY_2)], reply=False)
        except ModelError:
            return
        start, _, rest = plain.partition(_USER)
        to_reply, _, rest = rest.partition(_REPLY)
        to_user, _, rest = rest.partition(_USER_2)
        self._tail = rest.partition(_REPLY_2)[2].strip()
        self._first_user, self._first_system, found = to_user, "", {start: "user", to_user: "user"}
        if template.keeps_system:
            with_system = template.render([Message("system", _SYSTEM), *conversation])
            before, _, after = with_system.partition(_SYSTEM)
            self._first_system = before
            found |= {after.partition(_USER)[0]: "user", before: "system"}
        found[to_reply] = "assistant"
        self._between = {mark.strip(): cast(Role, role) for mark, role in found.items() if mark.strip()}

    def split(self, text: str) -> tuple[Message, ...] | None:
        """The turns of a text; None when it does not begin with a mark or no assistant speaks in it."""
        if not self._between:
            return None
        rest = text.strip()
        first = self._opening(rest)
        if first is None:
            return None
        role, at = first
        parts = sorted(self._between, key=len, reverse=True)
        pattern = re.compile("|".join(f"(?P<m{number}>{_loose(mark)})" for number, mark in enumerate(parts)))
        messages = []
        for match in pattern.finditer(rest, at):
            messages.append(Message(role, rest[at : match.start()].strip()))
            role, at = self._between[parts[int(str(match.lastgroup)[1:])]], match.end()
        messages.append(Message(role, self._without_end(rest[at:])))
        return tuple(messages) if any(message.role == "assistant" for message in messages) else None

    def _opening(self, text: str) -> tuple[Role, int] | None:
        """Who speaks first, and where; a mark at the very beginning lacks the end of a turn before it."""
        for mark, role in ((self._first_system, "system"), (self._first_user, "user")):
            for start in range(len(mark)):
                # Not from within a token: <|user|> must not be found as |user|>.
                if start and (mark[start - 1].isalnum() or mark[start - 1] in "<|[/") and not mark[start].isspace():
                    continue
                found = re.match(_loose(mark[start:].strip()), text) if len(mark[start:].strip()) > 2 else None
                if found:
                    return cast(Role, role), found.end()
        whole = next((mark for mark in self._between if text.startswith(mark)), None)
        return (self._between[whole], len(whole)) if whole is not None else None

    def _without_end(self, text: str) -> str:
        found = re.search(_loose(self._tail) + r"\s*\Z", text) if self._tail else None
        body = (text[: found.start()] if found else text).strip()
        return body.removesuffix(self._eos).strip() if self._eos else body


def _loose(mark: str) -> str:
    return r"\s*" + r"\s*".join(re.escape(word) for word in mark.split()) + r"\s*"
