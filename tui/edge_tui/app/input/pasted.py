"""Long texts that stand in the input as a summary of a few words, and come back when it is sent."""

from __future__ import annotations

import re

LONGEST = 8000
"""Characters that the input lays out itself without a hitch."""

_SUMMARY = re.compile(r"\[pasted [\d,]+ characters(?: #\d+)?\]")


class Pasted:
    """Keeps what it has summarised as long as the input lives, because earlier lines can be brought back."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def summary(self, text: str) -> str:
        """`text` itself unless it is long. The same text has the same summary, another one another."""
        if len(text) <= LONGEST:
            return text
        first = f"[pasted {len(text):,} characters]"
        number, summary = 1, first
        while self._kept.get(summary, text) != text:
            number += 1
            summary = f"{first[:-1]} #{number}]"
        self._kept[summary] = text
        return summary

    def whole(self, text: str) -> str:
        """`text` with every summary replaced by what it stands for."""
        return _SUMMARY.sub(lambda found: self._kept.get(found[0], found[0]), text)
