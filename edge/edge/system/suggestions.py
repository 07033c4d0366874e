"""What somebody who mistyped a name may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def close_matches(word: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """The names of `known` that look like `word`, whatever their case, the likeliest first; at most `most`."""
    from difflib import get_close_matches  # nobody who types right waits for it

    names = {name.lower(): name for name in known}
    return [names[name] for name in get_close_matches(word.lower(), names, n=most, cutoff=0.6)]


def did_you_mean(word: str, known: Iterable[str], *, mark: str = "") -> str:
    """ "; did you mean a or b?", to stand behind a sentence; "" where nothing looks like `word`.

    `mark` is put before each name, such as the slash of a command in the chat.
    """
    found = [f"{mark}{name}" for name in close_matches(word, known)]
    return f"; did you mean {' or '.join(found)}?" if found else ""
