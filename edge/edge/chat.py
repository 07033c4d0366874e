"""A conversation that knows documents: evidence first, then the model's words, then what they stand on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from edge import arguments
from edge.answer import Answer, Delta
from edge.engines.thinking import opened_by
from edge.errors import ContextOverflow, UsageError
from edge.log import logger
from edge.model import Model
from edge.rag.abstention import UNANSWERABLE
from edge.rag.asked_question import AskedQuestion, PendingReply
from edge.rag.citations import cite, find_evidence
from edge.rag.fit import FittedPrompt, fit_prompt
from edge.rag.passage_selection import affordable, find, parts
from edge.rag.prompts import SYSTEM, SYSTEM_WITH_PASSAGES, is_small, shared_prefixes_of, turn
from edge.rag.retriever import answerable, check_retriever
from edge.requests import checked_messages, checked_rag, checked_sampling
from edge.scheduler import Scheduler, Stream
from edge.structured import followable_schema
from edge.structured_answer import cite_values, parsed
from edge.system.process_bound import ProcessBound
from edge.types import (
    ContextUsage,
    JudgingRetriever,
    Message,
    Passage,
    RagOptions,
    Retriever,
    Sampling,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logger("chat")

THINKING_BUDGET = 2048
"""Tokens that thinking may take, unless the sampling says otherwise, so that an answer still comes."""


def _concluded(asked: AskedQuestion, reply: PendingReply, read: tuple[Passage, ...], spent: ContextUsage) -> Delta:
    """The last step of a stream: the answer, held against the passages."""
    usage = asked.cost(reply.usage)
    structured = asked.response_format is not None or asked.sampling.schema is not None
    citations, unsupported = (cite_values if structured else cite)(reply.text, asked.passages, asked.question)
    answer = Answer(
        reply.text,
        asked.evidence,
        citations,
        unsupported,
        read,
        usage,
        spent,
        reply.finish,
        asked.likely,
        reply.thinking,
        parsed(reply.text, asked.response_format) if structured else None,
    )
    _log.info(
        "answered from %d of %d passages in %.1f s: %d tokens read, %d of them cached, %d written",
        *(len(read), len(asked.passages), usage.prompt_seconds + usage.completion_seconds),
        *(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens),
    )
    return Delta(finish=reply.finish, usage=usage, answer=answer)


class Chat(ProcessBound):
    """One conversation. Safe to share between threads: one question after the other, in the order of asking, so that
    the history stays in order, too; an answer that nobody goes on reading is completed when the next question comes.

    Args:
        model: A model, or a Future of one: evidence is then shown while the weights still load. May be changed between
            questions.
        knowledge: Any `Retriever`, an Index for instance, or None. May be changed between questions.
        system: What the model is told first; None takes a text of edge's own.
        adapter: The name of a LoRA that the model has loaded.
        rag: How many passages a question gets, and when the documents are taken not to answer it. May be changed
            between questions.
        think: Let a model think first that can do without. What is thought is no part of the answer: it is not checked,
            no later question reads it, and where it is sure to come it has a budget beside `max_tokens`.
        sampling: For every question that does not bring its own.
        response_format: A JSON schema or a pydantic class, see `Model.stream`; likewise.

    Raises:
        UsageError: For an argument that makes no sense.
        KnowledgeError: For knowledge that cannot search.

    Attributes:
        history: Every turn as it was sent, passages included, so that the KV cache of earlier turns stays valid;
            answers without what was thought before them, as chat templates want it.
        prompt: What the last question was sent as, system text first; known before its answer's first word.

    Examples:
        >>> talk = edge.Chat(model, knowledge=index, sampling=edge.Sampling(max_tokens=30))
        >>> talk.ask("When is the pump due for maintenance?").evidence[0].quote
        'The pump is due for maintenance every ninety days.'
    """

    def __init__(
        self,
        model: Model | Future[Model],
        *,
        knowledge: Retriever | None = None,
        system: str | None = None,
        adapter: str | None = None,
        rag: RagOptions | None = None,
        think: bool = False,
        sampling: Sampling | None = None,
        response_format: Any = None,
    ) -> None:
        if not isinstance(model, Model) and not hasattr(model, "result"):
            arguments.refuse("model", model, "a Model, as edge.load returns it, or a Future of one")
        self._model = model
        self.knowledge = knowledge
        self.system = system
        self.adapter = adapter
        self.rag = checked_rag(rag)
        self.think = think
        self.sampling = checked_sampling(sampling)
        self.response_format = response_format
        self.history: list[Message] = []
        """Every turn as it was sent, passages included, so that the KV cache of earlier turns stays valid; answers
        without what was thought before them, as chat templates want it."""
        self.prompt: tuple[Message, ...] = ()
        """What the last question was sent as, system text first; known before its answer's first word."""
        self._sent_from = 0
        self._questions = Scheduler("this conversation")

    def __repr__(self) -> str:
        model = f"{self._model.name!r}" if isinstance(self._model, Model) else "a model that is loaded beside"
        knowledge = f", knowledge={type(self.knowledge).__name__}" if self.knowledge is not None else ""
        return f"Chat({model}, turns={len(self.history) // 2}{knowledge})"

    @property
    def model(self) -> Model:
        """Waits for the model when it is still loading; raises what its loading raised."""
        return self._model if isinstance(self._model, Model) else self._model.result()

    @model.setter
    def model(self, model: Model | Future[Model]) -> None:
        """From the next question on another one answers: it reads the whole history, as far as it has room for it."""
        self._model = model
        self._sent_from = 0

    @property
    def knowledge(self) -> Retriever | None:
        """Where passages come from; None answers without."""
        return self._knowledge

    @knowledge.setter
    def knowledge(self, knowledge: Retriever | None) -> None:
        check_retriever(knowledge)
        self._knowledge = knowledge

    def clear(self) -> None:
        """Begin again, with the same model and knowledge."""
        self._questions.end_all("this conversation was begun again before the answer was complete")
        self.history.clear()
        self._sent_from = 0

    def restore(self, history: Sequence[Message]) -> None:
        """Go on where another Chat stood.

        Args:
            history: A copy of the one it had, or the beginning of that.
        """
        kept = checked_messages("history", history) if history else []
        self._questions.end_all("this conversation was set back before the answer was complete")
        self.history[:] = kept
        self._sent_from = 0

    def prefill_cache(self, passage: Passage, stopped: Callable[[], bool] | None = None) -> int | None:
        """Compute beforehand what a first question reads of a passage, and keep it.

        What stands in the model's KV cache now gives way to it.

        Args:
            passage: The passage.
            stopped: Asked many times a second; True ends it.

        Returns:
            Its bytes; 0 where it was kept already, None where the engine keeps nothing, has no room or was stopped.
        """
        prompt = [*self._system(), Message("user", turn("?", [passage], (), small=False))]
        return self.model.prefill_cache(
            prompt, shared_prefixes_of([passage]), adapter=self.adapter, stopped=stopped, think=self.think
        )

    def save_kv_cache(self) -> bool:
        """Keep the KV cache of this conversation, as far as its next question will be read from it.

        Templates leave out of earlier turns what was thought, and often the place where it stood.

        Returns:
            Whether it is kept.
        """
        turns = [*self._system(), *self.history[self._sent_from :], Message("user", "?")]
        return self.model.save_kv_cache(self.model.render(turns, think=self.think))

    def ask(self, question: str, *, sampling: Sampling | None = None, response_format: Any = None) -> Answer:
        """The whole answer: the end of `stream`.

        Args:
            question: What is asked.
            sampling: In the place of the conversation's own.
            response_format: Likewise.

        Returns:
            The answer.

        Raises:
            EdgeError: What `stream` raises.

        Examples:
            >>> chat.ask("Who won the cup in 1966?").text
            'The documents do not tell.'
        """
        answer = None
        for delta in self.stream(question, sampling=sampling, response_format=response_format):
            answer = delta.answer
        assert answer is not None, "a stream that is not closed ends with its answer"
        return answer

    def stream(self, question: str, *, sampling: Sampling | None = None, response_format: Any = None) -> Stream[Delta]:
        """Yield evidence, progress, text and at the end the answer; close the iterator, or drop it, to cancel.

        What was said before a cancel stays in `history`.

        Args:
            question: What is asked.
            sampling: In the place of the conversation's own, for this question.
            response_format: Likewise.

        Yields:
            Deltas; the last one has the `answer`.

        Raises:
            UsageError: For an empty question, or a format that no reply can be held to.
            ContextOverflow: For a question that cannot fit, with the numbers.
            FormatError: At the end, for a reply that does not keep to its format.
        """
        question = arguments.text("question", question).strip()
        if not question:
            raise UsageError("the question is empty; ask something")
        chosen = checked_sampling(sampling or self.sampling)
        form = self.response_format if response_format is None else response_format
        if form is not None:
            followable_schema(form)  # refused now, and not after the documents were searched
        return self._questions.stream(lambda: self._stream(question, chosen, form))

    def _stream(self, question: str, sampling: Sampling, response_format: Any) -> Iterator[Delta]:
        passages, worth = find(self.knowledge, question, self.rag.k) if self.knowledge is not None else ([], 0)
        evidence = find_evidence(self.knowledge, question, passages)
        asked = AskedQuestion(question, sampling, passages, evidence, evidence, response_format)
        if self.knowledge is not None:
            yield Delta(evidence=asked.evidence)
            asked.likely_by_search = self._likely(question, passages)
            if not passages or self._refuses(asked.likely):
                yield from self._unanswerable(asked)
                return
        counts, read = self._counts(passages, worth), 0
        if counts == (1,) and parts(question) and self.knowledge is not None:
            # The best of the whole question, not of its first part.
            asked.passages, _ = find(self.knowledge, question, self.rag.k, several=False)
            asked.pointed = find_evidence(self.knowledge, question, asked.passages)
        for count in counts:
            if read:
                yield Delta(further_passages=count - read)
            read = count
            if (yield from self._answered(asked, count, more=count < counts[-1])):
                return

    def _counts(self, passages: Sequence[Passage], worth: int) -> tuple[int, ...]:
        """How many passages are read and, if these do not tell, how many then."""
        if self.rag.prompt_passages is not None or is_small(self.model.parameters):
            return (min(self.rag.prompt_passages or 1, len(passages)),)
        model = self.model
        rate = model.engine.prefill_rate
        most = affordable(passages, lambda passage: model.count(passage.text) / rate, self.rag.extra_read_seconds)
        first = min(worth, most)
        return (first, most) if first < most else (most,)

    def _answered(self, asked: AskedQuestion, count: int, *, more: bool) -> Generator[Delta, None, bool]:
        """Answer from the best `count` passages; False, and nothing was said, where there are `more` and these do not
        answer."""
        fitted = self._fitted(asked, count)
        prompt, read = fitted.prompt, fitted.passages
        self.prompt = tuple(prompt)
        # Later turns begin as nothing else does; what is kept of them is the whole conversation.
        shared_prefixes = shared_prefixes_of(read) if len(prompt) <= 2 else ()
        asked.likely_by_model = (yield from self._judged(prompt, shared_prefixes, asked)) if read else None
        judged = asked.likely_by_model is not None
        if judged and self._refuses(asked.likely):
            if not more:
                yield from self._unanswerable(asked)
            return not more
        reply = PendingReply(held=more)
        began = perf_counter()
        stream = self.model.stream(
            prompt,
            adapter=self.adapter,
            sampling=self._sampling(asked.sampling, prompt, read),
            response_format=asked.response_format,
            shared_prefixes=shared_prefixes,
            think=self.think,
        )
        try:
            for delta in stream:
                if delta.prefill is not None:
                    asked.read = asked.read or delta.prefill
                    if not judged:  # else the prompt was read before
                        yield Delta(prefill=delta.prefill)
                if delta.thinking:
                    yield Delta(thinking=delta.thinking)
                shown = reply.add(delta)
                if reply.abstained:
                    asked.seconds += perf_counter() - began
                    return False
                if shown:
                    yield Delta(text=shown)
        finally:
            stream.close()
            if reply.text and not reply.held:
                self.history += [prompt[-1], Message("assistant", reply.text)]
        yield _concluded(asked, reply, tuple(read), fitted.usage)
        return True

    def _sampling(self, sampling: Sampling, prompt: Sequence[Message], read: Sequence[Passage]) -> Sampling:
        if sampling.thinking_budget is None and self._will_think(prompt):
            sampling = replace(sampling, thinking_budget=THINKING_BUDGET)
        # Small models like to go on with a question of their own.
        return replace(sampling, stop=(*sampling.stop, "\nQuestion:")) if read else sampling

    def _will_think(self, prompt: Sequence[Message]) -> bool:
        """Because it is to, or because its prompt knows no other way."""
        return self.think or opened_by(self.model.render(prompt)) is not None

    def _likely(self, question: str, passages: Sequence[Passage]) -> float | None:
        """By what was found; None where that is not judged."""
        if not passages:
            return 0.0
        return answerable(self.knowledge, question, passages) if isinstance(self.knowledge, JudgingRetriever) else None

    def _judged(
        self, prompt: Sequence[Message], shared_prefixes: Sequence[str], asked: AskedQuestion
    ) -> Generator[Delta, None, float | None]:
        """Read the prompt as the answer will; then, by the model, how likely its passages tell.

        None where the model's judgement is not known to be worth anything, or there is no room to ask for it.
        """
        if self.rag.min_answerable <= 0:
            return None
        from edge.rag.answerability import calibration_of, log_odds

        calibration = calibration_of(self.model, adapter=self.adapter)
        if calibration is None or not calibration.believed:
            return None
        one = Sampling(max_tokens=1)
        for delta in self.model.stream(
            prompt, adapter=self.adapter, sampling=one, shared_prefixes=shared_prefixes, think=self.think
        ):
            if delta.usage is not None:
                asked.seconds += delta.usage.prompt_seconds
            if delta.prefill is not None:
                asked.read = asked.read or delta.prefill
                yield Delta(prefill=delta.prefill)
        began = perf_counter()
        try:
            odds = log_odds(self.model, prompt, adapter=self.adapter)
        except ContextOverflow:
            return None
        finally:
            asked.seconds += perf_counter() - began
        return calibration.probability(odds)

    def _refuses(self, likely: float | None) -> bool:
        return likely is not None and likely < self.rag.min_answerable

    def _unanswerable(self, asked: AskedQuestion) -> Iterator[Delta]:
        _log.info("the documents do not tell: %d passages, probability %s", len(asked.passages), asked.likely)
        self.prompt = (*self._system(), Message("user", asked.question))
        self.history += [self.prompt[-1], Message("assistant", UNANSWERABLE)]
        spent = ContextUsage(limit=0, system=0, history=0, passages=0, question=0, reserved=0)
        yield Delta(text=UNANSWERABLE)
        usage = asked.cost()
        answer = Answer(UNANSWERABLE, asked.evidence, (), (), (), usage, spent, answerable=asked.likely)
        yield Delta(finish="stop", usage=usage, answer=answer)

    def _system(self) -> list[Message]:
        default = SYSTEM if self.knowledge is None else SYSTEM_WITH_PASSAGES
        content = default if self.system is None else self.system
        return [Message("system", content)] if content else []

    def _fitted(self, asked: AskedQuestion, count: int) -> FittedPrompt:
        """What is sent, as far as the context holds it; turns that had no room are left out from now on."""
        fitted = fit_prompt(
            self.model,
            self._system(),
            self.history[self._sent_from :],
            asked.question,
            asked.passages[:count],
            asked.pointed,
            max_tokens=asked.sampling.max_tokens,
            think=self.think,
        )
        self._sent_from += fitted.forgotten
        return fitted
