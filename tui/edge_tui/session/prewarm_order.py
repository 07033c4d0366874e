"""Which passages a model should read beforehand, and in which order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from edge.errors import StorageError
from edge.system import paths
from edge.types import Passage
from edge_index.records import Document


@runtime_checkable
class Passages(Protocol):
    """What is needed of an index."""

    def documents(self) -> list[Document]: ...

    def passages(self, document: str) -> Sequence[Passage]: ...


def wanted(index: Passages) -> Iterator[Passage]:
    """Every passage: first those that earlier answers stood on, most often first, then the others in order."""
    documents = [document.path for document in index.documents()]
    cited: defaultdict[str, list[int]] = defaultdict(list)
    for document, place in _cited():
        cited[document].append(place)
    stood_on: Counter[Passage] = Counter()
    for document in documents:
        for passage in index.passages(document) if document in cited else ():
            stood_on[passage] = sum(passage.start <= place < passage.end for place in cited[document])
    first = [passage for passage, times in stood_on.most_common() if times]
    yield from first
    known = set(first)
    for document in documents:
        yield from (passage for passage in index.passages(document) if passage not in known)


class Budget:
    """What was kept so far, and whether one more passage would drive out the first of them. Sizes are in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.spent = self.read = 0

    @property
    def used_up(self) -> bool:
        return self.spent * (1 + 1 / max(1, self.read)) > self.size

    def take(self, size: int) -> None:
        """Count a passage that was read now; one that was kept already has the size 0 and costs nothing."""
        self.spent += size
        self.read += bool(size)


def _cited() -> Iterator[tuple[str, int]]:
    """Document and place of every source in the kept chats."""
    from edge_tui.history.store import Store

    file = paths.chats_file()
    if not file.is_file():
        return
    try:
        with Store(file) as store:
            for entry in store.chats():
                for turn in store.turns(entry.id):
                    yield from ((source.document, source.start) for source in turn.answer.sources)
    except StorageError:  # an order for want of a better one
        return
