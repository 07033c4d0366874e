"""Regular expressions out of somebody else's adapter_config.json, with a limit on how long they may take.

PEFT hands them to `re`, which can be made to try for centuries. Here `re` says whether one is valid and the `regex`
package, which reads the same language and has a clock, matches it.
"""

from __future__ import annotations

import re
import time
from functools import cached_property
from typing import Any

from edge.errors import MissingExtra

_LONGEST = 20_000
_SECONDS = 0.2
# Names: nothing in them is tried twice.
_LINEAR = re.compile(r"[\w.\-^$]*")


class PatternError(ValueError):
    """What is no regular expression, or none that is matched in time."""


class ForeignPattern:
    """`text` between a `prefix` and a `suffix` of our own, with a fifth of a second of processor time for all its
    matches together.

    Raises PatternError for what is no regular expression or is very long.
    """

    def __init__(self, text: str, *, prefix: str = "", suffix: str = "") -> None:
        if len(text) > _LONGEST:
            raise PatternError(f"{text[:40]}… has {len(text):,} characters")
        self._text = f"{prefix}{text}{suffix}"
        self._linear = _LINEAR.fullmatch(text) is not None
        self._left = _SECONDS
        try:
            self._plain = re.compile(self._text)
        except (re.error, RecursionError, OverflowError) as error:
            raise PatternError(str(error)) from error

    def match(self, name: str) -> Any:
        """As `re.match`: a match object or None. Raises PatternError when time is up, MissingExtra."""
        return self._plain.match(name) if self._linear else self._in_time(self._timed.match, name)

    def fullmatch(self, name: str) -> Any:
        """As `re.fullmatch`. Raises as `match`."""
        return self._plain.fullmatch(name) if self._linear else self._in_time(self._timed.fullmatch, name)

    def _in_time(self, match: Any, name: str) -> Any:
        started = time.thread_time()
        try:
            return match(name, timeout=max(self._left, 0.001))
        except TimeoutError as error:
            raise PatternError(f"{self._text[:80]} takes too long to match {name}") from error
        finally:
            self._left -= time.thread_time() - started

    @cached_property
    def _timed(self) -> Any:
        try:
            import regex
        except ImportError as error:
            raise MissingExtra("regex", "convert") from error
        try:
            return regex.compile(self._text)
        except regex.error as error:
            raise PatternError(str(error)) from error
