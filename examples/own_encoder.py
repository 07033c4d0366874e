"""An index with an encoder of your own, texts that are in no file, and metadata to choose among them.

    python examples/own_encoder.py

An encoder is anything with `encode(texts) -> array [n, dim]`; a SentenceTransformer is one. Its `fingerprint` tells
vectors of one encoder from those of another, which cannot be compared.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_index import Index


class WordEncoder:
    """Texts that share words lie near one another. A toy: yours would be a model."""

    fingerprint = "hashed words, 512"

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), 512), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                vector[zlib.crc32(word.encode()) % 512] += 1
        return vectors


TICKETS = [
    ("ticket 17", "The pump loses oil at the lower seal.", {"site": "north", "open": True}),
    ("ticket 21", "The pump at the gate makes a noise when it starts.", {"site": "south", "open": True}),
    ("ticket 29", "The seal of the old pump was replaced in May.", {"site": "north", "open": False}),
]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Index.open(folder, encoder=WordEncoder()) as index:
        for name, text, metadata in TICKETS:
            index.add_text(text, name=name, metadata=metadata)
        for passage in index.search("the seal of the pump", where={"site": "north", "open": True}):
            print(f"{passage.document} ({passage.metadata}): {passage.text}")
