"""The knowledge base: documents in, passages with checkable positions out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_index.encoders.encoder import Encoder
    from edge_index.encoders.reranker import Reranker
    from edge_index.index import Index
    from edge_index.ingest.embedding import TextEncoder
    from edge_index.records import AddProgress, AddReport, Document, Failure, Outdated

__all__ = [
    "AddProgress",
    "AddReport",
    "Document",
    "Encoder",
    "Failure",
    "Index",
    "Outdated",
    "Reranker",
    "TextEncoder",
]

_MODULES = {
    "Encoder": "edge_index.encoders.encoder",
    "Index": "edge_index.index",
    "Reranker": "edge_index.encoders.reranker",
    "TextEncoder": "edge_index.ingest.embedding",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'edge_index' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_MODULES.get(name, "edge_index.records")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
