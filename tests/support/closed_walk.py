"""Calls everything public of Model, Chat, Index, Encoder and Reranker in a process of its own: a signal is its end.

`python -m closed_walk GGUF ONNX ENCODER RERANKER INDEX` prints one JSON line a call: [class, name, error, message].
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any

import edge
from edge.types import Passage
from edge_index import Index
from edge_index.encoders.encoder import Encoder
from edge_index.encoders.reranker import Reranker
from index_fakes import WordEncoder

ASKED = [{"role": "user", "content": "Who keeps the lamp?"}]
PASSAGE = Passage("The lamp is at the top.", "tower.md", None, None, 0, 23, 1.0, "")

ARGUMENTS: dict[type, dict[str, tuple[Any, ...]]] = {
    edge.Model: {
        "stream": (ASKED,),
        "generate": (ASKED,),
        "score": (ASKED, ["At", "The"]),
        "prefill_cache": (ASKED, ["Who"]),
        "save_kv_cache": (),
        "count": ("a lamp",),
        "render": (ASKED,),
        "add_adapter": (__file__,),
        "remove_adapter": ("lora",),
    },
    edge.Chat: {
        "ask": ("Who?",),
        "stream": ("Who?",),
        "prefill_cache": (PASSAGE,),
        "save_kv_cache": (),
        "clear": (),
        "restore": ([],),
    },
    Index: {
        "documents": (),
        "text": ("tower.md",),
        "find_document": ("tower.md",),
        "passages": ("tower.md",),
        "add": (str(Path(__file__).parent),),
        "add_text": ("The lamp is lit.",),
        "remove": ("tower.md",),
        "outdated_chunks": (),
        "outdated": (),
        "rebuild": (),
        "stale": (),
        "search": ("lamp",),
        "evidence": ("lamp", [PASSAGE]),
        "answerable": ("lamp", [PASSAGE]),
        "check": (),
        "__len__": (),
    },
    Encoder: {"encode": (["a lamp"],), "encode_with_spans": (["a lamp"], [[(0, 6)]]), "count": ("a lamp",)},
    Reranker: {"scores": ("lamp", ["a lamp"])},
}
KEYWORDS: dict[tuple[type, str], dict[str, Any]] = {(Index, "add_text"): {"name": "note"}}
NEEDS_NO_MODEL = {"model", "clear", "restore", "knowledge"}
"""What of a Chat may be used though its model is closed: it only holds it."""


def names(kind: type) -> list[str]:
    """Everything public of a class but what opens and closes it."""
    found = [name for name in dir(kind) if not name.startswith("_") and name not in ("open", "close", "closed_error")]
    return [*found, *(["__len__"] if kind is Index else [])]


def unknown(kind: type) -> list[str]:
    """Public methods that the walk does not know how to call."""
    members = {name: getattr(kind, name) for name in names(kind)}
    return [name for name, member in members.items() if callable(member) and name not in ARGUMENTS[kind]]


def use(thing: Any, name: str) -> None:
    """One call, or one look at a property; a stream to its end."""
    member = getattr(thing, name)
    if callable(member):
        kind = next(kind for kind in ARGUMENTS if isinstance(thing, kind))
        found = member(*ARGUMENTS[kind].get(name, ()), **KEYWORDS.get((kind, name), {}))
        if isinstance(found, Iterator | GeneratorType):
            list(found)


def outcome(thing: Any, name: str) -> tuple[str, str]:
    try:
        use(thing, name)
    except BaseException as error:
        return f"{type(error).__module__}.{type(error).__name__}", str(error)
    return "", ""


def say(record: list[str]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")  # in one piece, for two threads do
    sys.stdout.flush()


def walk(label: str, open_it: Callable[[], Any], close: Callable[[Any], None]) -> None:
    """After one close, after two, and while another thread closes it."""
    thing = open_it()
    kind = next(kind for kind in ARGUMENTS if isinstance(thing, kind))
    close(thing)
    for _ in range(2):
        for name in names(kind):
            say([label, name, *outcome(thing, name)])
        close(thing)
    for name in [name for name in names(kind) if not name.startswith("add")]:
        thing = open_it()
        threads = [threading.Thread(target=race, args=(label, thing, name)) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.002)  # somewhere in the middle of their calls; right wherever it falls
        close(thing)
        for thread in threads:
            thread.join()


def race(label: str, thing: Any, name: str) -> None:
    """Call it until it is closed."""
    deadline = time.monotonic() + 60
    error = ""
    while time.monotonic() < deadline and error in ("", "edge.errors.AdapterError"):
        error, message = outcome(thing, name)
        if name in NEEDS_NO_MODEL:
            return
    say([f"{label}, racing", name, error, message])


def main() -> None:
    gguf, onnx, encoder, reranker, index = map(Path, sys.argv[1:])

    def chat() -> edge.Chat:
        return edge.Chat(edge.load(gguf, context=256, threads=1, kv_budget=0))

    walk("gguf", lambda: edge.load(gguf, context=256, threads=1, kv_budget=0), lambda model: model.close())
    walk("onnx", lambda: edge.load(onnx, context=256, threads=1), lambda model: model.close())
    walk("chat", chat, lambda chat: chat.model.close())
    walk("index", lambda: Index.open(index, encoder=WordEncoder()), lambda index: index.close())
    walk("encoder", lambda: Encoder.open(encoder, threads=1), lambda encoder: encoder.close())
    walk("reranker", lambda: Reranker.open(reranker, threads=1), lambda reranker: reranker.close())


if __name__ == "__main__":
    main()
