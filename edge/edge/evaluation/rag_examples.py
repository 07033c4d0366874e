"""Questions with their right replies -> examples to tune on that read as `Chat` sends them, passages included.

A model that was tuned on bare questions has never seen a passage: with documents it copies or invents. One that is to
answer from them is tuned on what it will be sent then (RAFT, arXiv 2403.10131).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge.errors import UsageError
from edge.evaluation.records import Question
from edge.evaluation.variants import example_reply, oracle_passages, preceding_turns
from edge.rag.citations import find_evidence
from edge.rag.passage_selection import find
from edge.rag.prompts import SYSTEM_WITH_PASSAGES, is_small, turn
from edge.types import Message, Passage, RagOptions, Retriever


@dataclass(frozen=True, slots=True)
class Grounded:
    """One example: system text, question with its passages, reply. `given`: the passage that a question names was put
    in by hand, because search did not find it."""

    messages: tuple[Message, ...]
    given: bool = False


def ground(
    questions: Iterable[Question],
    knowledge: Retriever,
    *,
    system: str | None = None,
    rag: RagOptions | None = None,
    parameters: int | None = None,
) -> Iterator[Grounded]:
    """Each question that has a reply, as it is sent with the passages that search finds, as many as `Chat` takes at
    first by the same `rag`, where its time has no end, to a model of so many `parameters` (None: a small one).

    Where the question names the passage that tells and search missed it, that one takes the first place: from a
    passage that does not tell, a model would learn to invent. Questions whose documents do not tell get the reply that
    says so. Raises UsageError where no question has a reply.
    """
    k, number = (rag or RagOptions()).k, (rag or RagOptions()).prompt_passages
    written, several = 0, number != 1 and (number is not None or not is_small(parameters))
    for question in questions:
        reply = example_reply(question)
        if not reply:
            continue
        searched, worth = find(knowledge, question.question, k, several=several)
        read = number or (worth if several else 1)
        found, given = _telling(knowledge, question, searched, read)
        evidence = find_evidence(knowledge, question.question, found)
        asked = turn(question.question, found[:read], evidence, small=is_small(parameters))
        own_system, earlier = preceding_turns(question, system)
        words = SYSTEM_WITH_PASSAGES if own_system is None else own_system
        first = [Message("system", words)] if words else []
        yield Grounded((*first, *earlier, Message("user", asked), Message("assistant", reply)), given)
        written += 1
    if not written:
        raise UsageError("no question has a reply to learn; give each `answers` or a `reference`")


def _telling(
    knowledge: Retriever, question: Question, found: Sequence[Passage], read: int
) -> tuple[list[Passage], bool]:
    """The passages with one that tells among the first `read`, and whether it had to be put there."""
    named = oracle_passages(knowledge, question) if question.answerable is not False else ()
    places = question.spans or ([question.passage] if question.passage else [])
    document = named[0].document if named else None
    answered = any(
        passage.document == document and passage.start <= start and end <= passage.end
        for passage in found[:read]
        for start, end in places
    )
    return ([*named, *found], True) if named and not answered else (list(found), False)
