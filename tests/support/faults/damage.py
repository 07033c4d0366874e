"""Damage to files at rest: to the caches beside the store, which must never be believed, and to the store itself,
which must be reported."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

PAGE = 8192


def caches(folder: Path) -> dict[str, bytes]:
    """Everything in an index but the store and its lock, by its name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith("index.")}


def broken(content: bytes, others: list[bytes], chance: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """A file as it may be found, without end: what was done to it, and its content, None for no file at all.

    `others` are sound files that do not belong here: of an older generation, of another dimension.
    """
    while True:
        for other in others:
            yield "another index's file", other
        yield "gone", None
        yield "empty", b""
        yield "longer", content + chance.randbytes(chance.randint(1, 5000))
        for at in range(0, min(len(content), 128), 4):
            yield "a number in the header", _with(content, at, chance.randbytes(4))
            yield "a bit in the header", _flipped(content, chance.randrange(min(len(content), 128)), chance)
            yield "a bit", _flipped(content, chance.randrange(len(content)), chance)
            yield "a zeroed page", _with(content, _page(content, chance), bytes(PAGE))
            yield "a page of another place", _with(content, _page(content, chance), _cut(content, chance))
            yield "a page of noise", _with(content, _page(content, chance), chance.randbytes(PAGE))
            yield "cut off", content[: chance.randrange(len(content))]
            yield "zeros at the end", _with(content, chance.randrange(len(content)), bytes(len(content)))


def broken_pages(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """An SQLite file with each of its pages damaged in every way, one at a time."""
    for at in range(0, len(content), PAGE):
        page = f"page {at // PAGE + 1}"
        yield f"{page} zeroed", _with(content, at, bytes(PAGE))
        yield f"{page} noise", _with(content, at, chance.randbytes(PAGE))
        yield f"{page} of another place", _with(content, at, _cut(content, chance))
        yield f"half of {page} zeroed", _with(content, at + PAGE // 2, bytes(PAGE // 2))
        yield f"cut off at {page}", content[:at]


def _page(content: bytes, chance: random.Random) -> int:
    return chance.randrange(0, len(content), PAGE)


def _cut(content: bytes, chance: random.Random) -> bytes:
    at = _page(content, chance)
    return content[at : at + PAGE]


def _with(content: bytes, at: int, patch: bytes) -> bytes:
    return (content[:at] + patch + content[at + len(patch) :])[: len(content)]


def _flipped(content: bytes, at: int, chance: random.Random) -> bytes:
    return _with(content, at, bytes([content[at] ^ 1 << chance.randrange(8)]))
