"""Text of documents made safe to show and to send: data for the model, never a turn, a delimiter or an order."""

from __future__ import annotations

import re

# CSI, OSC and the like up to their end, then any other escape.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Other control characters, and those that are invisible or turn the direction of the text around.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
# The marks by which chat templates tell turns apart; an engine reads them as what they are, wherever they stand.
_TURNS = re.compile(
    r"<(?=[|｜][^<>\n]{1,40}[|｜]>|/?s>|(?:start|end)_of_turn>|(?:bos|eos|pad|unk)>|/?think>|</?SYS>>)|\[(?=/?INST\]|/?"
    r"(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
_BIDDING = r"(?:^|[.!:;]\s*|\b(?:please|always|must|now|and)\s+)"
_ORDER = re.compile(
    _BIDDING + r"(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|passage|question|previous|"
    r"prior|everything)|\b(?:new|system|updated|real) (?:instruction|prompt|message|order|question)s?\s*:"
    r"|\b(?:notes?|message|instructions?|attention|dear|hello)\b.{0,20}\b(?:ai|language|chat) ?"
    r"(?:assistant|model|bot)s?\b"
    r"|\byou (?:are now|must now|will now)\b|^[^\S\n]*(?:system|assistant|user|question)[^\S\n]*:|"
    + _BIDDING
    + r"(?:reply|respond|answer)\b.{0,30}\b(?:only|with|instead|exactly)\b"
    r"|\bend of (?:the )?(?:passage|document)s?\b",
    re.IGNORECASE | re.MULTILINE,
)


def plain(text: str) -> str:
    """`text` without terminal escapes, control and invisible characters; tabs and line ends stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def harmless(text: str) -> str:
    """`plain` text in which no mark of a chat template is one any more: a blank stands behind its first character."""
    return _TURNS.sub(lambda mark: mark[0] + " ", plain(text))


def orders(sentence: str) -> bool:
    """Whether a sentence of a document speaks to the model instead of telling something.

    A guess by English turns of phrase: it may mark a sentence as quoted, but nothing is left out because of it.
    """
    return _ORDER.search(sentence) is not None
