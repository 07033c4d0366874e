"""Turn a small language model into an expert on your documents, on your own machine, with the network unplugged.

The names below are the whole public API; each is imported when it is first used. Indexes are in `edge_index`,
conversions and tuning in `edge_converters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge import models
    from edge.answer import Answer, Delta
    from edge.chat import Chat
    from edge.errors import (
        AdapterError,
        ContextOverflow,
        ConversionError,
        DataError,
        DocumentError,
        DownloadError,
        EdgeError,
        EncoderError,
        FileReplaced,
        FormatError,
        KnowledgeError,
        MissingExtra,
        ModelBusy,
        ModelError,
        ModelNotFound,
        ModelTooLarge,
        ParityError,
        StorageError,
        TuningError,
        TuningStopped,
        UsageError,
    )
    from edge.loading import load
    from edge.model import Model
    from edge.types import (
        Adapter,
        Citation,
        Claim,
        ContextUsage,
        Dropped,
        Evidence,
        EvidenceRetriever,
        JudgingRetriever,
        Message,
        Passage,
        Prefill,
        RagOptions,
        Reply,
        Retriever,
        Sampling,
        Usage,
    )

    __version__: str

__all__ = [
    "Adapter",
    "AdapterError",
    "Answer",
    "Chat",
    "Citation",
    "Claim",
    "ContextOverflow",
    "ContextUsage",
    "ConversionError",
    "DataError",
    "Delta",
    "DocumentError",
    "DownloadError",
    "Dropped",
    "EdgeError",
    "EncoderError",
    "Evidence",
    "EvidenceRetriever",
    "FileReplaced",
    "FormatError",
    "JudgingRetriever",
    "KnowledgeError",
    "Message",
    "MissingExtra",
    "Model",
    "ModelBusy",
    "ModelError",
    "ModelNotFound",
    "ModelTooLarge",
    "ParityError",
    "Passage",
    "Prefill",
    "RagOptions",
    "Reply",
    "Retriever",
    "Sampling",
    "StorageError",
    "TuningError",
    "TuningStopped",
    "Usage",
    "UsageError",
    "load",
    "models",
]

_MODULES = {
    "Answer": "edge.answer",
    "Chat": "edge.chat",
    "Delta": "edge.answer",
    "Model": "edge.model",
    "load": "edge.loading",
}


def __getattr__(name: str) -> object:
    if name not in (*__all__, "__version__"):
        raise AttributeError(f"module 'edge' has no attribute {name!r}")
    from importlib import import_module, metadata

    value: object
    if name == "models":
        value = import_module("edge.models")
    elif name == "__version__":
        value = metadata.version("edge-expert")
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        errors = import_module("edge.errors")
        value = getattr(errors if hasattr(errors, name) else import_module("edge.types"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
