"""How each variant answers a question: the plain base, with examples, with documents, tuned, both, or from the passages
that are known to hold the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from edge.chat import Chat
from edge.errors import ContextOverflow, EdgeError
from edge.evaluation.metrics import measured
from edge.evaluation.records import VARIANTS, Place, Question, Row
from edge.model import Model
from edge.rag.abstention import UNANSWERABLE, abstains
from edge.rag.prompts import SYSTEM, SYSTEM_WITH_PASSAGES
from edge.text.terms import content_words
from edge.types import Message, Passage, RagOptions, Retriever, Sampling, Usage

SCORED = 128
"""Tokens of a reference whose probability is asked for."""


@runtime_checkable
class KeepsTexts(Protocol):
    """Knowledge that keeps the texts of its documents, an Index for instance."""

    def find_document(self, name: str) -> str: ...

    def text(self, document: str) -> str: ...


class Encoder(Protocol):
    """Anything that turns texts into vectors [n, dim]."""

    def encode(self, texts: list[str], /) -> Any: ...


class Examples:
    """Questions with their right replies, of which the nearest are shown. Each is encoded once."""

    def __init__(self, known: Sequence[Question] = (), encoder: Encoder | None = None) -> None:
        self.known = tuple(example for example in known if example_reply(example))
        self.encoder = encoder
        self._vectors: Any = None

    def prepare(self) -> None:
        """Encode them now, so that no question pays for it."""
        if self.encoder is not None and self.known and self._vectors is None:
            self._vectors = _unit(self.encoder, [example.question for example in self.known])

    def nearest(self, question: Question, count: int) -> list[Question]:
        """The examples that are most like the question, the most like last, next to it; never the question itself."""
        self.prepare()
        if self._vectors is not None and self.encoder is not None:
            likeness = [float(value) for value in self._vectors @ _unit(self.encoder, [question.question])[0]]
        else:
            asked = set(content_words(question.question))
            words = [set(content_words(example.question)) for example in self.known]
            likeness = [len(asked & other) / math.sqrt(max(1, len(asked) * len(other))) for other in words]
        same = _plain(question.question)
        rest = [i for i, example in enumerate(self.known) if _plain(example.question) != same]
        order = sorted(rest, key=lambda i: (-likeness[i], i))[:count]
        return [self.known[i] for i in reversed(order)]


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything but the question that an answer depends on."""

    model: Model
    adapter: str | None = None
    knowledge: Retriever | None = None
    examples: Examples = field(default_factory=Examples)
    shots: int = 4
    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    rag: RagOptions = field(default_factory=RagOptions)
    think: bool = False


def possible(setup: Setup, questions: Sequence[Question]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The variants that can be tried, and a sentence for each that cannot."""
    missing = {
        "few-shot": None if setup.examples.known else "examples were not given (--examples FILE)",
        "rag": None if setup.knowledge is not None else "there are no documents (--docs PATH or --index NAME)",
        "tuned": None if setup.adapter else "there is no adapter (--adapter LORA)",
        "oracle": None
        if any(oracle_passages(setup.knowledge, question) for question in questions)
        else "no question names the passage that holds its answer, or the index does not hold its document",
    }
    missing["rag+tuned"] = missing["rag"] or missing["tuned"]
    variants = tuple(variant for variant in VARIANTS if missing.get(variant) is None)
    return variants, tuple(
        f"{variant} was left out: {missing[variant]}." for variant in VARIANTS if variant not in variants
    )


def oracle_passages(knowledge: Retriever | None, question: Question) -> tuple[Passage, ...]:
    """What is known to hold the answer: the texts that the question carries, or those that its places name."""
    name = question.document or "the question's passage"
    if question.passages:
        return tuple(Passage(text, name, None, None, 0, len(text), 1.0, "") for text in question.passages)
    place = question.passage
    if question.document is None or place is None or not isinstance(knowledge, KeepsTexts):
        return ()
    try:
        document = knowledge.find_document(question.document)
        text = knowledge.text(document)[place[0] : place[1]]
    except EdgeError:
        return ()
    return (Passage(text, document, None, None, place[0], place[1], 1.0, ""),) if text.strip() else ()


def answer(setup: Setup, variant: str, number: int, question: Question) -> Row | None:
    """The question, answered and measured; None where this variant cannot answer it (no oracle passage)."""
    began = perf_counter()
    try:
        said = _said(setup, variant, question)
    except ContextOverflow as error:
        citations: tuple[Place, ...] = ()
        return Row(variant, number, "", {**measured(question, "", citations), "seconds": 0.0}, error=str(error))
    if said is None:
        return None
    seconds = perf_counter() - began
    adapter = setup.adapter if "tuned" in variant else None
    figures = measured(question, said.text, said.citations)
    figures |= _cost(said.usage) | {"seconds": seconds}
    nll_per_token = _nll_per_token(setup.model, said.prompt, question.wanted, adapter) if said.prompt else None
    if nll_per_token is not None:
        figures["nll_per_token"] = nll_per_token
    return Row(variant, number, said.text, figures, abstains(said.text), said.citations or ())


@dataclass(frozen=True, slots=True)
class _Said:
    """`prompt` is what the model read, () when it was not asked."""

    text: str
    usage: Usage
    prompt: tuple[Message, ...]
    citations: tuple[Place, ...] | None = None


class _Given:
    """A retriever that finds what it was given."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = list(passages)

    def search(self, query: str, k: int = 5) -> list[Passage]:
        return self._passages[:k]


def _said(setup: Setup, variant: str, question: Question) -> _Said | None:
    adapter = setup.adapter if "tuned" in variant else None
    if variant == "oracle":
        passages = oracle_passages(setup.knowledge, question)
        return _from_passages(setup, question, None, _Given(passages), len(passages)) if passages else None
    if "rag" in variant:
        assert setup.knowledge is not None, "possible() leaves this variant out"
        return _from_passages(setup, question, adapter, setup.knowledge, setup.rag.prompt_passages)
    shots = setup.examples.nearest(question, setup.shots) if variant == "few-shot" else []
    while True:
        prompt = _plain_prompt(setup, question, shots)
        room = setup.model.context - setup.model.count(setup.model.render(prompt, think=setup.think))
        if not shots or room >= min(setup.sampling.max_tokens, setup.model.context // 4):
            break
        shots = shots[1:]  # the farthest one; a prompt that cannot hold its examples holds fewer
    reply = setup.model.generate(prompt, adapter=adapter, sampling=setup.sampling, think=setup.think)
    return _Said(reply.text.strip(), reply.usage, tuple(prompt))


def _plain_prompt(setup: Setup, question: Question, shots: Sequence[Question]) -> list[Message]:
    """The system's words, examples as earlier turns, what came before, the question.

    A question out of a chat keeps the system text it had there, or none: that is what a tuned model learnt from.
    """
    before = list(question.before or ())
    if setup.system is not None:
        before = [turn for turn in before if turn.role != "system"]
        system = [Message("system", setup.system)] if setup.system else []
    elif question.before is None:
        system = [Message("system", SYSTEM)]
    else:
        system = [turn for turn in before if turn.role == "system"]
        before = [turn for turn in before if turn.role != "system"]
    turns: list[Message] = []
    for shot in shots:
        turns += [Message("user", shot.question), Message("assistant", example_reply(shot))]
    return [*system, *turns, *before, Message("user", question.question)]


def _from_passages(
    setup: Setup, question: Question, adapter: str | None, knowledge: Retriever, prompt_passages: int | None
) -> _Said:
    """As `Chat` answers, which is how `edge ask` does it."""
    system, earlier = preceding_turns(question, setup.system)
    chat = Chat(
        setup.model,
        knowledge=knowledge,
        system=system,
        adapter=adapter,
        rag=replace(setup.rag, k=max(setup.rag.k, prompt_passages or 0), prompt_passages=prompt_passages),
        think=setup.think,
    )
    chat.history = earlier
    found = chat.ask(question.question, sampling=setup.sampling)
    places = tuple(Place(c.document, c.start, c.end, c.quote) for c in found.citations)
    prompt: list[Message] = []
    if found.passages and found.text:  # else the model was not asked, or what it read is not known
        words = SYSTEM_WITH_PASSAGES if system is None else system
        prompt = [*([Message("system", words)] if words else []), *chat.history[:-1]]
    return _Said(found.text.strip(), found.usage, tuple(prompt), places)


def preceding_turns(question: Question, system: str | None) -> tuple[str | None, list[Message]]:
    """What is told before a question with passages: the system text (`system`, else that of the question's own chat,
    None for neither), and earlier turns."""
    before = question.before or ()
    if system is None:
        system = next((turn.content for turn in before if turn.role == "system"), None)
    return system, [turn for turn in before if turn.role != "system"]


def example_reply(example: Question) -> str:
    """What an example shows as the right reply; "" where it knows none."""
    return UNANSWERABLE if example.answerable is False and not example.reference else example.wanted or ""


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _unit(encoder: Encoder, texts: list[str]) -> Any:
    import numpy as np

    vectors = np.asarray(encoder.encode(texts), dtype=np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _cost(usage: Usage) -> dict[str, float]:
    return {
        "prompt_tokens": float(usage.prompt_tokens),
        "cached_tokens": float(usage.cached_tokens),
        "completion_tokens": float(usage.completion_tokens),
        "prompt_seconds": usage.prompt_seconds,
        "completion_seconds": usage.completion_seconds,
    }


def _nll_per_token(model: Model, prompt: Sequence[Message], wanted: str | None, adapter: str | None) -> float | None:
    """Nats per token of the wanted reply's beginning: its perplexity is e to the power of this."""
    if not wanted:
        return None
    count = model.count(wanted)
    while count > SCORED:
        wanted = wanted[: len(wanted) * SCORED // (count + 1)]
        count = model.count(wanted)
    if not wanted:
        return None
    try:
        mean = -model.score(prompt, [wanted], adapter=adapter)[0] / max(1, count)
    except ContextOverflow:
        return None
    return mean if math.isfinite(mean) else None
