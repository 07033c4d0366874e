"""Words that carry content, stemmed: the common ground of citations and of sentence ranking, in any language."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any

from edge.text.function_words import ENGLISH, OTHERS

FUNCTION_WORDS = ENGLISH
"""English words that carry grammar, not content."""

# Thai, Lao, Burmese, Hangul, Khmer, kana, Han. Korean has spaces, but its particles stick to the words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff"
_UNSPACED += "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
# Accents and vowel signs that are characters of their own and no letters: a word goes on behind them.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670"
_MARKS += "\u0900-\u0963\u0966-\u0dff"
_LETTER = rf"(?![{_UNSPACED}])[^\W_]"
_WORD = re.compile(rf"[{_UNSPACED}]+|{_LETTER}(?:{_LETTER}|[{_MARKS}])*(?:['’][^\W\d_]+)*")
_GRAM = re.compile(rf"[{_UNSPACED}]{{1,2}}")
_RUN = re.compile(rf"[{_UNSPACED}]+")

_ELISION = 3
"""Letters behind an apostrophe from which on they are the word: l'eau, dell'Italia, O'Brien; not "it's", "we'll"."""

_ENGLISH_SHARE = 0.25
"""A text with this share of English function words is English, and no other language is tried."""


def content_terms(text: str) -> list[str]:
    """Words of `text` in order, lower case, without accents, function words and possessive endings.

    Scripts that put no spaces between words (Han, kana, Thai and others) give every pair of neighbouring
    characters. The function words are those of the one language, of seven, that the text has most of.
    """
    terms = []
    for match in _WORD.finditer(text):
        terms += _pairs(match[0]) if _RUN.match(match[0]) else [_plain(match[0])]
    grammar = _grammar(terms)
    return [term for term in terms if term not in grammar]


def content_words(text: str) -> list[str]:
    """The stems of `content_terms`."""
    return [stem(term) for term in content_terms(text)]


def grams(text: str) -> str:
    """The pairs of characters of those parts of `text` that have no spaces between words, with blanks between
    them: what a full-text index must hold so that it can be searched for `content_terms`. Mostly empty."""
    return " ".join(pair for run in _RUN.finditer(text) for pair in _pairs(run[0]))


def is_gram(term: str) -> bool:
    """Whether a term stands in `grams`, not among the words with spaces around them."""
    return _GRAM.fullmatch(term) is not None


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


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def _grammar(terms: list[str]) -> frozenset[str]:
    """The function words to leave out: English ones unless at least two words say another language more clearly."""
    english = sum(term in ENGLISH for term in terms)
    most, best = max(1, english), ENGLISH
    for language in OTHERS if english < _ENGLISH_SHARE * len(terms) else ():
        count = sum(term in language for term in terms)
        if most < count < len(terms):
            most, best = count, language
    return best


def _plain(word: str) -> str:
    parts = word.lower().replace("’", "'").split("'")
    word = next((part for part in reversed(parts) if len(part) >= _ELISION), parts[0])
    if word.isascii():
        return word
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", bare)


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("porter")
