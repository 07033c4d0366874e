"""Whether a reply says that it does not know, or that the documents do not."""

from __future__ import annotations

import re

from edge.text.sentences import sentence_spans

UNANSWERABLE = "The documents do not tell."
"""The whole answer when no passage is good enough, and when the model finds that they do not answer."""

_SAYS_NOTHING = re.compile(
    r"""
    \b(?:do(?:es)?|did|is|are|was|were|ca|could|can|has|have|there['’]s)\s*(?:n['’]t|not|no)\s+
        (?:\w+\s+){0,2}?(?:tell|told|say|said|mention\w*|state[ds]?|specif\w+|provide[ds]?|contain\w*|include[ds]?
        |given?|known?|answer\w*|determin\w+|found|find|stated|information|enough|sufficient|discuss\w*|described?)\b
    | \bcannot\s+(?:be\s+)?(?:\w+\s+)?(?:tell|say|answer\w*|determin\w+|find|found|know\w*|provide)\b
    | \b(?:i|we)\s+(?:am|['’]m|are)\s+(?:not\s+sure|unsure|sorry|unable|not\s+able)
    | \bunanswerable\b | \bno\s+(?:information|mention|answer|passage|document)\b
    | \bnot\s+(?:mentioned|specified|stated|provided|known|given|told|in\s+the\s+(?:passage|document|text|context)s?)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)

_LONGEST_OPENING = 100
"""Characters after which a reply that has not abstained will not."""

_SUBJECTS = "passage passages document documents text texts context information article question answer"
_VERBS = (
    "do does did don doesn didn is are isn aren was were can cannot could has have provide provides contain contains"
)
_OPENINGS = tuple(
    tuple(frozenset(words.split()) for words in opening)
    for opening in (
        ("the these this your provided given", _SUBJECTS, _VERBS),
        ("the these", "provided given", _SUBJECTS, _VERBS),
        ("the", "answer", "is", "not"),
        ("the", "answer", "to", "this", "question", "is", "not"),
        (_SUBJECTS, _VERBS),
        ("it they", "do does don doesn is are isn aren", "not t"),
        ("it", "cannot"),
        ("there", "is are isn", "no not t insufficient"),
        ("i we", "am m do don cannot can could couldn are"),
        ("based according", "on to", "the", f"{_SUBJECTS} provided given"),
        ("unfortunately sorry unknown unanswerable unclear",),
        ("no none", f"of information mention {_SUBJECTS}"),
        ("not", "mentioned specified stated provided known given told in"),
    )
)
"""The words with which replies begin that say nothing, in order."""

_WORD = re.compile(r"[^\W\d_]+")


def abstains(reply: str) -> bool:
    """Whether the reply says that it does not know, or that the documents do not: in a phrase of its first sentence,
    or in any of two. An empty reply says nothing either."""
    if not reply.strip() or reply.strip() == UNANSWERABLE:
        return True
    spans = sentence_spans(reply)
    read = spans if len(spans) <= 2 else spans[:1]
    return any(_SAYS_NOTHING.search(reply[start:end]) for start, end in read)


def may_abstain(beginning: str) -> bool:
    """Whether a reply that begins so may yet turn out to say nothing; the last word may still be growing."""
    if len(beginning) > _LONGEST_OPENING or len(sentence_spans(beginning)) > 1:
        return False
    words = _WORD.findall(beginning.lower())
    if not words:
        return not beginning.strip()
    grows = beginning[-1].isalpha()
    return any(_fits(words, opening, grows) for opening in _OPENINGS)


def _fits(words: list[str], opening: tuple[frozenset[str], ...], grows: bool) -> bool:
    for i, (word, known) in enumerate(zip(words, opening, strict=False)):
        if word not in known and not (grows and i == len(words) - 1 and any(k.startswith(word) for k in known)):
            return False
    return True
