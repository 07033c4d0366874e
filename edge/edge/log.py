"""What a program may listen to: the loggers below `edge` of the standard library. Nothing is printed by itself.

At INFO stands what was done and how long it took, at DEBUG what happened on the way. Neither ever holds a word of a
document, a question or an answer.
"""

from __future__ import annotations

import logging


def logger(name: str) -> logging.Logger:
    """The logger "edge.NAME"."""
    root = logging.getLogger("edge")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    return root.getChild(name)
