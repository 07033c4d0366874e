"""Turn a small language model into an expert on your documents, on your own machine, with the network unplugged.

The names below are the whole public API; each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge.errors import EdgeError
    from edge.model import Model, load
    from edge.types import (
        Adapter,
        Answer,
        Citation,
        Claim,
        Delta,
        Evidence,
        Ledger,
        Message,
        Passage,
        Reply,
        Retriever,
        Sampling,
        Usage,
    )

__all__ = [
    "Adapter",
    "Answer",
    "Chat",
    "Citation",
    "Claim",
    "Delta",
    "EdgeError",
    "Evidence",
    "Ledger",
    "Message",
    "Model",
    "Passage",
    "Reply",
    "Retriever",
    "Sampling",
    "Usage",
    "load",
]

_ROOMS = {"Chat": "edge.chat", "EdgeError": "edge.errors", "Model": "edge.model", "load": "edge.model"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'edge' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_ROOMS.get(name, "edge.types")), name)
    globals()[name] = value
    return value
