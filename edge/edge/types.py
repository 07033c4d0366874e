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
    """One turn of a conversation.

    Attributes:
        role: Who speaks: "system", "user" or "assistant".
        content: What is said.

    Examples:
        >>> edge.Message("user", "When is the pump due?")
        Message(role='user', content='When is the pump due?')
    """

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy and ignores `top_k`, `top_p`, `min_p` and `seed`.
        top_p: Only the likeliest tokens, up to this share of the probability, 0 to 1.
        top_k: Only so many of the likeliest; 0 is off.
        min_p: Only tokens from this share of the best one's probability on, 0 to 1.
        repeat_penalty: Against saying it again; 1.0 is off.
        repeat_last: How many of the last tokens the penalty looks at.
        seed: The same seed, the same reply; None takes a fresh one for every reply.
        max_tokens: The longest reply in tokens, what is thought before it included, unless that has a budget.
        stop: Texts that end the reply and are not part of it; a single str is one of them.
        schema: A JSON schema as text: only tokens that keep to it are chosen.
        thinking_budget: Tokens that thinking may take beside `max_tokens`.

    Raises:
        UsageError: For a value that makes no sense, with what is allowed.

    Examples:
        >>> edge.Sampling(temperature=0.7, seed=7).max_tokens
        512
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
    """What a reply cost, thinking included.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        cached_tokens: Of these, those that were taken from the KV cache and not computed.
        completion_tokens: Tokens of the reply.
        prompt_seconds: Seconds of reading the prompt.
        completion_seconds: Seconds of writing the reply.
        restored_tokens: Of the cached ones, those from a state that was kept earlier, on disk or in memory, bit for
            bit.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0
    restored_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Prefill:
    """Progress of reading the prompt.

    Attributes:
        total: Tokens of the prompt.
        cached: Of these, those that need no computing.
        done: Tokens that are read.
        restored: Of the cached ones, those from a kept state.
    """

    total: int
    cached: int
    done: int
    restored: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    Attributes:
        text: The reply.
        finish: Why it ended: "stop", "length" at its limit, "cancelled".
        usage: What it cost.
        thinking: What the model thought before `text`.
    """

    text: str
    finish: Finish
    usage: Usage
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA that is loaded.

    Attributes:
        name: Its name in this process.
        path: The file that the engine reads.
        scale: The factor on its effect.
        modules: How many modules of the base it changes; None where the engine cannot tell.
        ranks: The ranks that occur; () where the engine cannot tell.
    """

    name: str
    path: str
    scale: float = 1.0
    modules: int | None = None
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Passage:
    """A piece of a document.

    Attributes:
        text: The piece itself.
        document: The path under which the file was added, or the name of a text without one.
        page: From 1; None where the format has none.
        heading: The nearest heading path ("Results > Yield"), or None.
        start: Where it begins in the document's extracted text, in characters.
        end: Where it ends there, exclusive.
        score: 0 to 1, higher is better.
        sha256: Hash of the file as it was read, so that anyone can see whether it changed since.
        metadata: What was given with the document.

    Examples:
        >>> passage = index.search("When is the pump due?", k=1)[0]
        >>> index.text(passage.document)[passage.start : passage.end] == passage.text
        True
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

    Attributes:
        k: Passages that are looked for.
        prompt_passages: How many of them the model reads. None leaves that to the question
            (`edge.rag.passage_selection`): the best one, those beside it that may as well be the one that answers and,
            where what was read does not, the next. Small models always read one: of 40 questions SmolLM2-135M answers
            22 from the best passage and 22 from the best two.
        extra_read_seconds: About how long reading more than the best passage may take.
        min_answerable: The probability below which a retriever that judges its passages, or a calibrated model
            (`edge.rag.answerability`), is believed and the question not answered. 0 has every question answered.

    Raises:
        UsageError: For a `k` below 1.

    Examples:
        >>> edge.Chat(model, knowledge=index, rag=edge.RagOptions(min_answerable=0)).rag.k
        5
    """

    k: int = 5
    prompt_passages: int | None = None
    extra_read_seconds: float = 10.0
    min_answerable: float = 0.5

    def __post_init__(self) -> None:
        arguments.whole("k", self.k, 1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence of a document, literally: `quote == text[start:end]` of the document's extracted text.

    Attributes:
        quote: The sentence.
        document: As in `Passage`, like `page` and `heading`.
        page: From 1; None where the format has none.
        heading: The nearest heading path, or None.
        start: In the document's extracted text, in characters.
        end: Exclusive.
        score: 0 to 1, higher is better.
    """

    quote: str
    document: str
    page: int | None
    heading: str | None
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer.

    Attributes:
        text: The sentence.
        start: Where it begins in the answer's text, in characters.
        end: Exclusive.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Citation:
    """The quote of a document on which a sentence of the answer stands.

    Attributes:
        claim: That sentence.
        quote: `text[start:end]` of the document's extracted text.
        document: As in `Passage`, like `page` and `heading`.
        page: From 1; None where the format has none.
        heading: The nearest heading path, or None.
        start: In the document's extracted text, in characters.
        end: Exclusive.
        score: 0 to 1: the share of the sentence's content that the quote carries.
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
    """Something that had no room in the prompt.

    Attributes:
        what: What it was, in words.
        tokens: How many it would have taken.
    """

    what: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ContextUsage:
    """Where the context went, in tokens, and what was left out.

    Attributes:
        limit: What the context holds.
        system: The system text.
        history: Earlier turns.
        passages: What was read of documents.
        question: The question.
        reserved: Kept free for the reply.
        dropped: What had no room.
    """

    limit: int
    system: int
    history: int
    passages: int
    question: int
    reserved: int
    dropped: tuple[Dropped, ...] = ()


@runtime_checkable
class Retriever(Protocol):
    """Anything that finds passages.

    Examples:
        >>> isinstance(index, edge.Retriever)
        True
    """

    def search(self, query: str, k: int = 5) -> list[Passage]:
        """Find passages.

        Args:
            query: The question, or a part of it.
            k: How many at most.

        Returns:
            Best first; an empty list says that the documents do not answer the question.
        """
        ...


@runtime_checkable
class JudgingRetriever(Retriever, Protocol):
    """A retriever that also says how likely the passages that it found answer the question.

    Below `Chat.min_answerable` the answer says that the documents do not tell, and the model is not asked.
    """

    def answerable(self, query: str, passages: Sequence[Passage]) -> float:
        """Judge passages.

        Args:
            query: The question.
            passages: What `search` found for it.

        Returns:
            A probability, 0 to 1.
        """
        ...


@runtime_checkable
class EvidenceRetriever(Retriever, Protocol):
    """A retriever that also finds the sentences that answer best, inside passages it returned."""

    def evidence(self, query: str, passages: Sequence[Passage], limit: int = 3) -> list[Evidence]:
        """Find sentences.

        Args:
            query: The question.
            passages: What `search` found for it.
            limit: How many at most.

        Returns:
            Literal sentences of the passages, best first.
        """
        ...
