"""The knowledge base: documents in, passages with checkable positions out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_index.encoder import Encoder
    from edge_index.index import Index

__all__ = ["Encoder", "Index"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'edge_index' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"edge_index.{name.lower()}"), name)
    globals()[name] = value
    return value
