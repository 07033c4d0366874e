"""One loaded model, whatever the engine: stop strings, usage, timing, queue and cancelling, written once."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from edge import arguments
from edge.answer import Delta
from edge.engines.contract import Engine, Interrupted
from edge.engines.deltas import deltas
from edge.engines.thinking import closing, engine_limit, separate
from edge.errors import AdapterError, UsageError
from edge.library import adapter_name, find_adapter
from edge.requests import Prompt, checked_messages, checked_prompt, checked_sampling
from edge.scheduler import Scheduler, Stream
from edge.structured import ResponseFormat, check, followable_schema
from edge.system.process_bound import ProcessBound
from edge.types import Adapter, Message, Reply, Sampling, Usage


class Model(ProcessBound):
    """A model that speaks. Safe to share between threads: one reply after the other, in the order of asking.

    A reply begins when its stream is first asked for something. One that nobody goes on reading holds nobody up: who is
    next in the queue computes the rest of it, which waits for its reader. After `close` everything here is a
    ModelError. Made by `edge.load`.

    Attributes:
        name: What it is called in messages.
        path: The file or folder; None for one that lies in none.
    """

    def __init__(
        self, engine: Engine, *, name: str = "model", path: Path | None = None, queue_timeout: float | None = None
    ) -> None:
        """Put a queue and names in front of an engine; `edge.load` does this.

        Args:
            engine: What computes.
            name: What the model is called in messages.
            path: Its file or folder.
            queue_timeout: Seconds; who waits longer for a turn gets a ModelBusy. None waits for ever.
        """
        if queue_timeout is not None:
            queue_timeout = arguments.number("queue_timeout", queue_timeout, 0)
        self.name = name
        self.path = path
        self._engine = engine
        self._scheduler = Scheduler(name, queue_timeout)
        self._adapters: dict[str, Adapter] = {}

    def __repr__(self) -> str:
        if self._scheduler.closed:
            return f"Model({self.name!r}, closed)"
        adapters = f", adapters={list(self._adapters)}" if self._adapters else ""
        return f"Model({self.name!r}, context={self._engine.context}, device={self._engine.device!r}{adapters})"

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """What computes. Raises ModelError after `close`."""
        self._scheduler.check_open()
        return self._engine

    @property
    def context(self) -> int:
        """Tokens that prompt and reply share."""
        return self.engine.context

    @property
    def parameters(self) -> int | None:
        """How many weights it has, None where its engine does not know."""
        return self.engine.parameters

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The LoRAs that are loaded."""
        self._scheduler.check_open()
        return tuple(self._adapters.values())

    def stream(
        self,
        prompt: Prompt,
        *,
        adapter: str | None = None,
        scale: float | None = None,
        sampling: Sampling | None = None,
        response_format: ResponseFormat | None = None,
        shared_prefixes: Sequence[str] = (),
        think: bool = False,
    ) -> Stream[Delta]:
        """Yield the reply as it comes into being; close the iterator, from any thread, or drop it to cancel.

        `async for` works, too: every step is then computed in a thread.

        Args:
            prompt: Messages, which go through the model's chat template, or a plain string, which is sent as it is.
            adapter: The name of a LoRA that was added; None is the plain base.
            scale: Another factor on its effect, for this reply.
            sampling: How tokens are chosen; None is greedy.
            response_format: A JSON schema, a pydantic model class or TypeAdapter, or OpenAI's form of one, that the
                reply keeps to.
            shared_prefixes: Beginnings of the last message, shorter ones first, with which other prompts begin, too:
                the KV cache of the longest is kept beyond this prompt.
            think: Let a model think first that can do without.

        Yields:
            Deltas: progress of reading, what is thought, text, at the end why it ended and what it cost.

        Raises:
            ContextOverflow: For a prompt that cannot fit, with the numbers.
            AdapterError: For a name that is not loaded.
            UsageError: For a format that no reply can be held to.
            FormatError: At the end, for a reply that was cut before its JSON was complete.
            ModelBusy: Where no turn came within the `queue_timeout`.

        Examples:
            >>> deltas = list(model.stream("One, two, three,", sampling=edge.Sampling(max_tokens=3)))
            >>> deltas[-1].usage.completion_tokens
            3
        """
        sampling = checked_sampling(sampling)
        if response_format is not None:
            sampling = replace(sampling, schema=followable_schema(response_format))
        prompt, beginnings = checked_prompt(prompt), arguments.texts("shared_prefixes", shared_prefixes)
        chosen = self._adapter(adapter, scale)
        return self._scheduler.stream(lambda: self._deltas(prompt, sampling, chosen, beginnings, think))

    def generate(
        self,
        prompt: Prompt,
        *,
        adapter: str | None = None,
        scale: float | None = None,
        sampling: Sampling | None = None,
        response_format: ResponseFormat | None = None,
        think: bool = False,
    ) -> Reply:
        """The whole reply: a join over `stream`.

        Args:
            prompt: As in `stream`, like everything else here.
            adapter: The name of a LoRA that was added.
            scale: Another factor on its effect.
            sampling: How tokens are chosen.
            response_format: What the reply keeps to.
            think: Let a model think first.

        Returns:
            The reply with what it cost.

        Raises:
            EdgeError: What `stream` raises.

        Examples:
            >>> model.generate("One, two, three,", sampling=edge.Sampling(max_tokens=3)).finish
            'length'
        """
        parts: list[str] = []
        thinking: list[str] = []
        last = Delta()
        for last in self.stream(
            prompt, adapter=adapter, scale=scale, sampling=sampling, response_format=response_format, think=think
        ):
            parts.append(last.text)
            thinking.append(last.thinking)
        return Reply("".join(parts), last.finish or "stop", last.usage or Usage(), "".join(thinking))

    def score(
        self,
        prompt: Prompt,
        continuations: Sequence[str],
        *,
        adapter: str | None = None,
        scale: float | None = None,
    ) -> list[float]:
        """How likely the reply is to begin with each of some texts. What a model would think before that is left out.

        Args:
            prompt: As in `stream`.
            continuations: The texts.
            adapter: The name of a LoRA that was added.
            scale: Another factor on its effect.

        Returns:
            Natural logarithms of probabilities, one a text.

        Raises:
            UsageError: For an empty continuation.
            EdgeError: What `stream` raises.

        Examples:
            >>> blue, loud = model.score("The sky is", [" blue", " loud"])
            >>> blue > loud
            True
        """
        prompt, continuations = checked_prompt(prompt), arguments.texts("continuations", continuations)
        if not all(continuations):
            raise UsageError("an empty continuation has no probability; name the words that a reply may begin with")
        with self._scheduler.exclusive():
            text = self._text(prompt)
            return self.engine.score(text + closing(text), continuations, self._adapter(adapter, scale))

    def prefill_cache(
        self,
        prompt: Prompt,
        shared_prefixes: Sequence[str],
        *,
        adapter: str | None = None,
        stopped: Callable[[], bool] | None = None,
        think: bool = False,
    ) -> int | None:
        """Compute the KV cache of the longest of `shared_prefixes`, as `stream` has it, and keep it for prompts to
        come.

        Args:
            prompt: A prompt that begins so.
            shared_prefixes: Beginnings of its last message, shorter ones first.
            adapter: The name of a LoRA that was added.
            stopped: Asked many times a second; True ends it.
            think: As in `stream`.

        Returns:
            Its bytes; 0 where it was kept already, None where this engine keeps none, it could not be kept or `stopped`
            said so.

        Raises:
            EdgeError: What `stream` raises.
        """
        prompt, shared_prefixes = checked_prompt(prompt), arguments.texts("shared_prefixes", shared_prefixes)
        with self._scheduler.exclusive():
            text = self._text(prompt, think)
            try:
                boundaries = _prefix_boundaries(text, shared_prefixes)
                return self.engine.prefill_cache(text, self._adapter(adapter, None), boundaries, stopped)
            except Interrupted:
                return None

    def save_kv_cache(self, beginning: str | None = None) -> bool:
        """Keep the KV cache of what was read and said last, for a prompt that begins with it.

        Args:
            beginning: A prompt to come, as far as it is known: only what it has in common with the last is kept.

        Returns:
            Whether it is kept.
        """
        if beginning is not None:
            beginning = arguments.text("beginning", beginning)
        with self._scheduler.exclusive():
            return self.engine.save_kv_cache(beginning)

    def count(self, text: str) -> int:
        """Tokens of a text; a running reply is not waited for.

        Args:
            text: The text, as it is.

        Returns:
            How many.

        Examples:
            >>> model.count("The pump") < model.count("The pump is due for maintenance.")
            True
        """
        with self._scheduler.reading():
            return self.engine.count(arguments.text("text", text))

    def render(self, messages: Sequence[Message | Mapping[str, str]], *, think: bool = False) -> str:
        """The prompt that `stream` sends for messages; a running reply is not waited for.

        Args:
            messages: Messages, or mappings with role and content.
            think: As in `stream`.

        Returns:
            Text with the marks of the model's chat template.

        Examples:
            >>> "Why?" in model.render([edge.Message("user", "Why?")])
            True
        """
        with self._scheduler.reading():
            return self.engine.render(checked_messages("messages", messages), think=think)

    def add_adapter(self, path: str | Path, *, name: str | None = None, scale: float = 1.0) -> Adapter:
        """Load a LoRA beside the base; `stream(adapter=name)` uses it.

        Args:
            path: A PEFT folder, a GGUF LoRA, an `.onnx_adapter`, or the name of an adapter in the library. A PEFT
                folder is converted once and kept, in a program that has imported `edge_converters`.
            name: What to call it; None takes that of the file.
            scale: The factor on its effect.

        Returns:
            The adapter as it is loaded.

        Raises:
            AdapterError: For one that does not fit this model, or a name that is taken.
            MissingExtra: Where a PEFT folder cannot be converted here.

        Examples:
            >>> with edge.load("base.gguf", context=256) as base:
            ...     base.add_adapter("my-lora", name="legal").name
            'legal'
        """
        self._scheduler.check_open()
        source = find_adapter(arguments.path("path", path))
        scale = arguments.number("scale", scale, -math.inf)
        name = name or adapter_name(source)
        if name in self._adapters:
            raise AdapterError(f"an adapter called {name!r} is loaded already; remove it first or give another name")
        adapter = Adapter(name, str(source), scale)
        with self._scheduler.exclusive():
            if self.path is not None:
                from edge.adapters import prepare_adapter

                adapter = prepare_adapter(adapter, self.path)
            self.engine.add_adapter(adapter)
            self._adapters[name] = adapter
        return adapter

    def remove_adapter(self, name: str) -> None:
        """Free a LoRA; waits for a running reply.

        Args:
            name: Its name.

        Raises:
            AdapterError: For a name that is not loaded.
        """
        with self._scheduler.exclusive():
            self._adapter(name, None)
            self.engine.remove_adapter(name)
            del self._adapters[name]

    def close(self) -> None:
        """Free the weights, and end what is still being answered with a ModelError; may be called twice.

        Waited for is the step in hand, not the whole reply.
        """
        self._scheduler.close(self._engine.close)

    def _adapter(self, name: str | None, scale: float | None) -> Adapter | None:
        self._scheduler.check_open()
        if scale is not None:
            scale = arguments.number("scale", scale, -math.inf)
        if name is None:
            return None
        if name not in self._adapters:
            raise AdapterError(f"no adapter {name!r} is loaded; loaded: {', '.join(self._adapters) or 'none'}")
        adapter = self._adapters[name]
        return adapter if scale is None else replace(adapter, scale=scale)

    def _deltas(
        self,
        prompt: str | list[Message],
        sampling: Sampling,
        adapter: Adapter | None,
        shared_prefixes: Sequence[str],
        think: bool,
    ) -> Generator[Delta, None, None]:
        if adapter is not None:  # it may have been removed since the stream was asked for
            self._adapter(adapter.name, None)
        stops = tuple(sampling.stop)
        if sampling.schema is not None:
            # The grammar holds from the first token on, so the answer has to begin there.
            text = self._text(prompt)
            text += closing(text)
            events = self._engine.stream(text, sampling, adapter, _prefix_boundaries(text, shared_prefixes))
            yield from _kept_to(sampling.schema, deltas(events, stops))
            return
        text = self._text(prompt, think)
        events = self._engine.stream(text, engine_limit(sampling), adapter, _prefix_boundaries(text, shared_prefixes))
        yield from deltas(separate(events, text, sampling), stops)

    def _text(self, prompt: str | list[Message], think: bool = False) -> str:
        return prompt if isinstance(prompt, str) else self._engine.render(prompt, think=think)


def _prefix_boundaries(text: str, shared_prefixes: Sequence[str]) -> list[int]:
    """Where the beginnings of the last message end in the prompt; none where its template changes them."""
    at = text.rfind(shared_prefixes[-1]) if shared_prefixes else -1
    return [at + len(beginning) for beginning in shared_prefixes] if at >= 0 else []


def _kept_to(schema: str, stream: Iterator[Delta]) -> Iterator[Delta]:
    """The same deltas; the last one only when the whole text keeps to the schema."""
    text = ""
    for delta in stream:
        text += delta.text
        if delta.finish is not None:
            check(text, schema, finish=delta.finish)
        yield delta
