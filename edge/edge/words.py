"""Words that carry content, stemmed: the common ground of citations and of sentence ranking."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")

FUNCTION_WORDS = frozenset(
    """
    a about above after again all also although am an and any are as at be because been before being below
    between both but by can could did do does doing down during each either else ever few for from further had
    has have having he her here hers herself him himself his how i if in into is it its itself just may me might
    more most much must my myself neither no nor not of off on once one only onto or other our ours ourselves out
    over own per same shall she should since so some such than that the their theirs them themselves then there
    these they this those though through thus to too under until up upon us very was we were what when where
    whether which while who whom whose why will with within without would yet you your yours yourself
    """.split()
)
"""English words that carry grammar, not content."""


def content_terms(text: str) -> list[str]:
    """Words of `text` in order, lower case, without accents, function words and possessive endings."""
    return [word for word in (_plain(match[0]) for match in _WORD.finditer(text)) if word not in FUNCTION_WORDS]


def content_words(text: str) -> list[str]:
    """The stems of `content_terms`."""
    return [stem(term) for term in content_terms(text)]


def required_words(text: str) -> set[str]:
    """Stems of the numbers in `text` and of the names inside it: what a quote must carry to support it.

    A capitalised word counts as a name unless it opens the text, where every word is capitalised.
    """
    found = set()
    for match in _WORD.finditer(text):
        word = _plain(match[0])
        named = match[0][0].isupper() and match.start() > 0
        if (named or any(c.isdigit() for c in word)) and word not in FUNCTION_WORDS:
            found.add(stem(word))
    return found


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The stem of a lower-case word by Porter's algorithm, the one that SQLite's full-text search uses."""
    return str(_stemmer().stemWord(word))


def _plain(word: str) -> str:
    word = re.split("['’]", word.lower())[0]
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("porter")
