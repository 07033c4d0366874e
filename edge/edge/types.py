"""The frozen records that travel between the rooms. Field names are also the keys of `--json`.

All positions (`start`, `end`) are character offsets, end exclusive, so that `text[start:end]` is the span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from edge import arguments

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "cancelled"]
_LONGEST = 60


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text[: 4 * _LONGEST].split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    temperature 0 is greedy and ignores top_k, top_p, min_p and seed. `repeat_penalty` 1.0 is off; it looks
    at the last `repeat_last` tokens. `seed` None takes a fresh one for every reply. `stop` strings end the
    reply and are not part of it; a single str is one of them. `schema` is a JSON schema as text: only tokens that keep
    to it are chosen. `max_tokens` counts what a model thinks before its answer, too, unless that has a
    `thinking_budget` of its own. Raises UsageError for a value that makes no sense.
    """

    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    repeat_last: int = 64
    seed: int | None = None
    max_tokens: int = 512
    stop: str | Sequence[str] = ()
    schema: str | None = None
    thinking_budget: int | None = None

    def __post_init__(self) -> None:
        checked: dict[str, object] = {
            "temperature": arguments.number("Sampling.temperature", self.temperature, 0, 100),
            "top_p": arguments.number("Sampling.top_p", self.top_p, 0, 1),
            "top_k": arguments.whole("Sampling.top_k", self.top_k, 0),
            "min_p": arguments.number("Sampling.min_p", self.min_p, 0, 1),
            "repeat_penalty": arguments.number("Sampling.repeat_penalty", self.repeat_penalty, 0.01, 100),
            "repeat_last": arguments.whole("Sampling.repeat_last", self.repeat_last, 0),
            "max_tokens": arguments.whole("Sampling.max_tokens", self.max_tokens, 1),
            "stop": arguments.text_or_texts("Sampling.stop", self.stop),
        }
        if self.seed is not None:
            checked["seed"] = arguments.whole("Sampling.seed", self.seed)
        if self.schema is not None:
            checked["schema"] = arguments.text("Sampling.schema", self.schema)
        if self.thinking_budget is not None:
            checked["thinking_budget"] = arguments.whole("Sampling.thinking_budget", self.thinking_budget, 0)
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost, thinking included. Of `prompt_tokens`, `cached_tokens` were taken from the KV cache and not
    computed; `restored_tokens` of these from a state that was kept earlier, on disk or in memory, bit for bit."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0
    restored_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Prefill:
    """Progress of reading the prompt: `done` of `total` tokens, `cached` of them without computing, of which `restored`
    came from a kept state."""

    total: int
    cached: int
    done: int
    restored: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """`thinking` is what the model thought before `text`."""

    text: str
    finish: Finish
    usage: Usage
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA: its name in this process, the file that the engine reads and the factor on its effect.

    `modules` of the base are changed by it, in the `ranks` that occur; None and () where the engine cannot tell.
    """

    name: str
    path: str
    scale: float = 1.0
    modules: int | None = None
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Passage:
    """A piece of a document. `start:end` are positions in the document's extracted text.

    `document` is the path under which the file was added, `page` counts from 1 and is None where the format
    has none, `heading` is the nearest heading path ("Results > Yield") or None. `score` is 0 to 1, higher is
    better. `sha256` is the hash of the file as it was read, so that anyone can see whether it changed since.
    `metadata` is what was given with the document.
    """

    text: str
    document: str
    page: int | None
    heading: str | None
    start: int
    end: int
    score: float
    sha256: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        metadata = f", metadata={dict(self.metadata)!r}" if self.metadata else ""
        return (
            f"Passage({shortened(self.text)!r}, document={self.document!r}, page={self.page}, "
            f"span={self.start}:{self.end}, score={self.score:.3f}{metadata})"
        )


@dataclass(frozen=True, slots=True)
class RagOptions:
    """How many passages a question gets, and when the documents are taken not to answer it.

    Of the `k` passages that are found the model reads the best `prompt_passages`. None leaves that to the question
    (`edge.rag.passage_selection`): the best one, those beside it that may as well be the one that answers, and, where
    what was read does not, the next, as far as reading them takes no more than about `extra_read_seconds`. Small
    models always read one: of 40 questions SmolLM2-135M answers 22 from the best passage and 22 from the best two. A
    retriever that judges its passages less likely than `min_answerable` to answer is believed, and the model is not
    asked; a model that was calibrated (`edge.rag.answerability`) and judges so itself is believed, too. 0 has every
    question answered.
    """

    k: int = 5
    prompt_passages: int | None = None
    extra_read_seconds: float = 10.0
    min_answerable: float = 0.5

    def __post_init__(self) -> None:
        arguments.whole("k", self.k, 1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence of a document, literally: `quote == text[start:end]` of the document's extracted text."""

    quote: str
    document: str
    page: int | None
    heading: str | None
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer; `start:end` are positions in the answer's text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Citation:
    """The quote of a document on which a sentence of the answer stands.

    `quote == text[start:end]` of the document's extracted text. `score`, 0 to 1, is the share of the
    sentence's content that the quote carries.
    """

    claim: Claim
    quote: str
    document: str
    page: int | None
    heading: str | None
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that had no room in the prompt, and how many tokens it would have taken."""

    what: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ContextUsage:
    """Where the context went, in tokens, and what was left out."""

    limit: int
    system: int
    history: int
    passages: int
    question: int
    reserved: int
    dropped: tuple[Dropped, ...] = ()


@runtime_checkable
class Retriever(Protocol):
    """Anything that finds passages, best first; an empty list says that the documents do not tell."""

    def search(self, query: str, k: int = 5) -> list[Passage]: ...


@runtime_checkable
class JudgingRetriever(Retriever, Protocol):
    """A retriever that also says how likely it is, 0 to 1, that the passages it found tell what is asked.

    Below `RagOptions.min_answerable` the answer says that the documents do not tell, and the model is not asked.
    """

    def answerable(self, query: str, passages: Sequence[Passage]) -> float: ...


@runtime_checkable
class EvidenceRetriever(Retriever, Protocol):
    """A retriever that also finds the sentences that answer best, inside passages it returned."""

    def evidence(self, query: str, passages: Sequence[Passage], limit: int = 3) -> list[Evidence]: ...


@dataclass(frozen=True, slots=True)
class Document:
    """A file in an index, or with `has_file` False a text that was given without one, whose name is its `path`.

    `pages` is None where the format has none; `metadata` is what was given with it.
    """

    path: str
    sha256: str
    bytes: int
    characters: int
    passages: int
    pages: int | None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    has_file: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read, and why, in a sentence for people."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `Index.add` did: paths of files that were added, changed, left as they were or removed.

    `moved` are new names of files that were known under another one. `skipped` files of a folder have a format
    that is not read; `left` are links, pipes and their like that were left alone, with the reason; `ignored`
    counts what a pattern or a .gitignore left out. `notes` say what of a file is not in its text.
    The documents that were written in this run have `passages`: `embedded` of them were encoded, the vectors of
    `reused` ones were known.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()
    passages: int = 0
    embedded: int = 0
    reused: int = 0
    moved: tuple[str, ...] = ()
    left: tuple[Failure, ...] = ()
    ignored: int = 0
    notes: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Outdated:
    """What of an index was made by other rules, or with another encoder, than would be used today.

    To do it again takes about `seconds`: `documents` with `passages` to cut, of which `done` documents are ready
    from an earlier try. With `searchable` False the index's own encoder is needed to search until then.
    """

    reason: str
    documents: int
    passages: int
    done: int
    seconds: float
    searchable: bool


@dataclass(frozen=True, slots=True)
class AddProgress:
    """Where `Index.add` is: `done` of `total` files; `path` is the one in hand, None at the very end."""

    done: int
    total: int
    path: str | None
    passages: int
