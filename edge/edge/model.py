"""One loaded model, whatever the engine: stop strings, usage, timing, locking and cancelling, written once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, cast

from edge.engines.base import Engine, Interrupted, Token
from edge.errors import AdapterError, ModelError, UsageError
from edge.library import adapter_name, find_adapter, find_model
from edge.structured import check, schema_of
from edge.thinking import closing, engine_limit, separate
from edge.types import Adapter, Delta, Finish, Message, Prefill, Reply, Role, Sampling, Usage

Prompt = str | Sequence[Message | Mapping[str, str]]
KvType = Literal["f16", "q8_0", "q4_0"]


def load(
    model: str | Path,
    *,
    engine: Literal["auto", "gguf", "onnx"] = "auto",
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int | Literal["all", "auto"] | None = None,
    kv_type: KvType = "f16",
    provider: str | None = None,
    lookup: bool = False,
    kv_budget: float = 2.0,
    force: bool = False,
) -> Model:
    """Load a model by path or by its name in the library; nothing is downloaded.

    A GGUF file runs on llama.cpp, a folder with a genai_config.json on onnxruntime-genai; where a name stands for
    both, `engine` chooses. `context` in tokens and `threads` default to what suits the machine. For GGUF: `gpu_layers`
    (None and "auto" take as many as fit into free GPU memory), `kv_type` (the type of the KV cache) and `lookup`
    (guess tokens that repeat the prompt: a faster decode where a batch costs little more than a step, for a slower
    prefill), `kv_budget` (gigabytes in the cache directory for KV caches of passages and chats; 0 keeps none). For
    ONNX: `provider` ("cpu", "cuda", "dml").
    A model that does not fit into free memory is refused unless `force`.

    Raises ModelNotFound, ModelTooLarge, ModelError or MissingExtra.
    """
    path = find_model(str(model), engine=None if engine == "auto" else engine)
    if not path.is_dir():
        from edge.engines.llamacpp import LlamaCppEngine

        made: Engine = LlamaCppEngine(
            path,
            context=context,
            threads=threads,
            gpu_layers=gpu_layers,
            kv_type=kv_type,
            lookup=lookup,
            kv_budget=int(kv_budget * 1e9),
            force=force,
        )
        return Model(made, name=path.stem, path=path)
    from edge.engines.onnx import OnnxEngine

    made = OnnxEngine(path, context=context, threads=threads, provider=provider, force=force)
    return Model(made, name=path.name, path=path)


class Model:
    """A model that speaks. Safe to share between threads: the second one waits until the first is done."""

    def __init__(self, engine: Engine, *, name: str = "model", path: Path | None = None) -> None:
        self.engine = engine
        self.name = name
        self.path = path
        self._adapters: dict[str, Adapter] = {}
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._closed = False

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        return tuple(self._adapters.values())

    def stream(
        self,
        prompt: Prompt,
        *,
        adapter: str | None = None,
        scale: float | None = None,
        sampling: Sampling | None = None,
        response_format: Mapping[str, Any] | None = None,
        shared: Sequence[str] = (),
        think: bool = False,
    ) -> Generator[Delta, None, None]:
        """Yield the reply as it comes into being; close the iterator to cancel.

        Messages go through the model's chat template; a plain string is sent as it is. `adapter` is the name of one
        that was added, `scale` another factor on its effect for this reply. `response_format` is a JSON schema that
        the reply keeps to. `shared` are beginnings of the last message, shorter ones first, with which other prompts
        begin, too: the KV cache of the longest is kept beyond this prompt. `think` lets a model think first that can do
        without; what it, or one that cannot, thinks comes as `Delta.thinking`. A reply in a `response_format` comes
        without. Raises ContextOverflow for a prompt that
        cannot fit, AdapterError for a name that is not loaded, FormatError, at the end, for a reply that was cut before
        its JSON was complete.
        """
        sampling = sampling or Sampling()
        if response_format is not None:
            sampling = replace(sampling, schema=schema_of(response_format))
        return self._stream(prompt, sampling, self._adapter(adapter, scale), shared, think)

    def generate(
        self,
        prompt: Prompt,
        *,
        adapter: str | None = None,
        scale: float | None = None,
        sampling: Sampling | None = None,
        response_format: Mapping[str, Any] | None = None,
        think: bool = False,
    ) -> Reply:
        """The whole reply: a join over `stream`."""
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
        """How likely the reply is to begin with each of `continuations`: natural logarithms of probabilities. What a
        model would think before that is left out.

        Raises what `stream` raises, and UsageError for an empty continuation.
        """
        if not all(continuations):
            raise UsageError("an empty continuation has no probability; name the words that a reply may begin with")
        with self._held():
            text = self._text(prompt)
            return self.engine.score(text + closing(text), continuations, self._adapter(adapter, scale))

    def warm(
        self,
        prompt: Prompt,
        shared: Sequence[str],
        *,
        adapter: str | None = None,
        stopped: Callable[[], bool] | None = None,
        think: bool = False,
    ) -> int | None:
        """Compute the KV cache of the longest of `shared`, as `stream` has it, and keep it for prompts to come.

        Its bytes; 0 where it was kept already, None where this engine keeps none, it could not be kept or `stopped`,
        which is asked many times a second, said so.
        """
        with self._held():
            text = self._text(prompt, think)
            try:
                return self.engine.warm(text, self._adapter(adapter, None), _cuts(text, shared), stopped)
            except Interrupted:
                return None

    def keep(self) -> bool:
        """Keep the KV cache of what was read and said last, for a prompt that begins with it; whether it is kept."""
        with self._held():
            return self.engine.keep()

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return self.engine.count(text)

    def render(self, messages: Sequence[Message | Mapping[str, str]], *, think: bool = False) -> str:
        """The prompt that `stream` sends for these messages."""
        return self.engine.render(_messages(messages), think=think)

    def add_adapter(self, path: str | Path, *, name: str | None = None, scale: float = 1.0) -> Adapter:
        """Load a LoRA beside the base; `stream(adapter=name)` uses it.

        `path` is a PEFT directory, a GGUF LoRA, an `.onnx_adapter`, or the name of an adapter in the library. A PEFT
        directory is converted once and kept. Raises AdapterError for an adapter that does not fit this model or a
        name that is taken, MissingExtra where a PEFT directory cannot be converted here.
        """
        source = find_adapter(path)
        name = name or adapter_name(source)
        if name in self._adapters:
            raise AdapterError(f"an adapter called {name!r} is loaded already; remove it first or give another name")
        adapter = Adapter(name, str(source), scale)
        with self._held():
            if self.path is not None:
                from edge.adapters import fitting

                adapter = fitting(adapter, self.path)
            self.engine.add_adapter(adapter)
            self._adapters[name] = adapter
        return adapter

    def remove_adapter(self, name: str) -> None:
        """Free a LoRA; waits for a running reply. Raises AdapterError for a name that is not loaded."""
        with self._held():
            self._adapter(name, None)
            self.engine.remove_adapter(name)
            del self._adapters[name]

    def close(self) -> None:
        """Free the weights; waits for a running reply, and may be called twice."""
        with self._held(closing=True):
            if not self._closed:
                self._closed = True
                self.engine.close()

    def _adapter(self, name: str | None, scale: float | None) -> Adapter | None:
        if name is None:
            return None
        if name not in self._adapters:
            raise AdapterError(f"no adapter {name!r} is loaded; loaded: {', '.join(self._adapters) or 'none'}")
        adapter = self._adapters[name]
        return adapter if scale is None else replace(adapter, scale=scale)

    def _stream(
        self, prompt: Prompt, sampling: Sampling, adapter: Adapter | None, shared: Sequence[str], think: bool
    ) -> Generator[Delta, None, None]:
        with self._held():
            if adapter is not None:  # it may have been removed since the stream was asked for
                self._adapter(adapter.name, None)
            if sampling.schema is not None:
                # The grammar holds from the first token on, so the answer has to begin there.
                text = self._text(prompt)
                text += closing(text)
                events = self.engine.stream(text, sampling, adapter, _cuts(text, shared))
                yield from _kept_to(sampling.schema, _deltas(events, sampling.stop))
                return
            text = self._text(prompt, think)
            events = self.engine.stream(text, engine_limit(sampling), adapter, _cuts(text, shared))
            yield from _deltas(separate(events, text, sampling), sampling.stop)

    def _text(self, prompt: Prompt, think: bool = False) -> str:
        return prompt if isinstance(prompt, str) else self.engine.render(_messages(prompt), think=think)

    def _held(self, *, closing: bool = False) -> _Held:
        if self._holder == threading.get_ident():
            raise ModelError("this model is already answering in this thread; finish or close that stream first")
        if self._closed and not closing:
            raise ModelError(f"{self.name} is closed; load it again")
        return _Held(self)


class _Held:
    """The model's lock, which knows its thread, so that a thread cannot wait for itself for ever."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._model._lock.acquire()
        self._model._holder = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._model._holder = None
        self._model._lock.release()


def _messages(messages: Iterable[Message | Mapping[str, str]]) -> list[Message]:
    out = []
    for message in messages:
        if isinstance(message, Message):
            out.append(message)
            continue
        role = message.get("role")
        if role not in ("system", "user", "assistant") or "content" not in message:
            raise UsageError(f"a message needs a role (system, user, assistant) and a content, not {dict(message)!r}")
        out.append(Message(cast(Role, role), message["content"]))
    return out


def _cuts(text: str, shared: Sequence[str]) -> list[int]:
    """Where the beginnings of the last message end in the prompt; none where its template changes them."""
    at = text.rfind(shared[-1]) if shared else -1
    return [at + len(beginning) for beginning in shared] if at >= 0 else []


def _kept_to(schema: str, deltas: Iterator[Delta]) -> Iterator[Delta]:
    """The same deltas; the last one only when the whole text keeps to the schema."""
    text = ""
    for delta in deltas:
        text += delta.text
        if delta.finish is not None:
            check(text, schema, cut=delta.finish == "length")
        yield delta


def _deltas(events: Iterator[Prefill | Token], stops: tuple[str, ...]) -> Iterator[Delta]:
    """Engine events -> deltas: cuts at stop strings and keeps the books. Only the engine's own time counts."""
    prefill = Prefill(0, 0, 0)
    prompt_seconds = completion_seconds = 0.0
    completion_tokens = 0
    held = ""
    finish: Finish = "stop"
    try:
        while True:
            started = perf_counter()
            event = next(events, None)
            spent = perf_counter() - started
            if event is None:
                break
            if isinstance(event, Prefill):
                prefill = event
                prompt_seconds += spent
                yield Delta(prefill=event)
                continue
            completion_seconds += spent
            completion_tokens += 1 if event.finish != "stop" else 0
            if event.thinking:
                yield Delta(thinking=event.thinking)
            held += event.text
            cut = min((at for at in (held.find(stop) for stop in stops if stop) if at >= 0), default=-1)
            if cut >= 0:
                held = held[:cut]
                break
            if event.finish is not None:
                finish = event.finish
                break
            ready = len(held) - _possible_stop(held, stops)
            if ready > 0:
                yield Delta(text=held[:ready])
                held = held[ready:]
        if held:
            yield Delta(text=held)
        usage = Usage(
            prefill.total, prefill.cached, completion_tokens, prompt_seconds, completion_seconds, prefill.restored
        )
        yield Delta(finish=finish, usage=usage)
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _possible_stop(text: str, stops: tuple[str, ...]) -> int:
    """The length of the longest end of `text` with which a stop string begins."""
    longest = min(len(text), max((len(stop) - 1 for stop in stops), default=0))
    for size in range(longest, 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return size
    return 0
