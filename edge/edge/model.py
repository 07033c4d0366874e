"""One loaded model, whatever the engine: stop strings, usage, timing, locking and cancelling, written once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, cast

from edge.engines.base import Engine, Token
from edge.errors import AdapterError, ModelError, UsageError
from edge.types import Adapter, Delta, Finish, Message, Prefill, Reply, Role, Sampling, Usage

Prompt = str | Sequence[Message | Mapping[str, str]]


def load(
    model: str | Path,
    *,
    engine: Literal["auto", "gguf"] = "auto",
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int | None = None,
) -> Model:
    """Load a model by path or by its name in the library; nothing is downloaded.

    `context` in tokens, `threads` and `gpu_layers` (-1: all) default to what suits the machine.
    Raises ModelNotFound, ModelError or MissingExtra.
    """
    from edge.library import find_model

    path = find_model(str(model))
    if path.is_dir():
        raise ModelError(f"{path} is a folder; this version runs GGUF files: name one, or convert the model to GGUF")
    from edge.engines.llamacpp import LlamaCppEngine

    return Model(LlamaCppEngine(path, context=context, threads=threads, gpu_layers=gpu_layers), name=path.stem)


class Model:
    """A model that speaks. Safe to share between threads: the second one waits until the first is done."""

    def __init__(self, engine: Engine, *, name: str = "model") -> None:
        self.engine = engine
        self.name = name
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
    def adapters(self) -> tuple[Adapter, ...]:
        return tuple(self._adapters.values())

    def stream(
        self, prompt: Prompt, *, adapter: str | None = None, sampling: Sampling | None = None
    ) -> Iterator[Delta]:
        """Yield the reply as it comes into being; close the iterator to cancel.

        Messages go through the model's chat template; a plain string is sent as it is. Raises ContextOverflow
        for a prompt that cannot fit, AdapterError for a name that is not loaded.
        """
        if adapter is not None and adapter not in self._adapters:
            raise AdapterError(f"no adapter {adapter!r} is loaded; loaded: {', '.join(self._adapters) or 'none'}")
        return self._stream(prompt, sampling or Sampling(), adapter)

    def generate(self, prompt: Prompt, *, adapter: str | None = None, sampling: Sampling | None = None) -> Reply:
        """The whole reply: a join over `stream`."""
        parts: list[str] = []
        last = Delta()
        for last in self.stream(prompt, adapter=adapter, sampling=sampling):
            parts.append(last.text)
        return Reply("".join(parts), last.finish or "stop", last.usage or Usage())

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return self.engine.count(text)

    def render(self, messages: Sequence[Message | Mapping[str, str]]) -> str:
        """The prompt that `stream` sends for these messages."""
        return self.engine.render(_messages(messages))

    def add_adapter(self, path: str | Path, *, name: str | None = None, scale: float = 1.0) -> Adapter:
        """Load a LoRA beside the base; `stream(adapter=name)` uses it. Raises AdapterError."""
        adapter = Adapter(name or Path(path).stem, str(path), scale)
        with self._held():
            self.engine.add_adapter(adapter)
        self._adapters[adapter.name] = adapter
        return adapter

    def close(self) -> None:
        """Free the weights; waits for a running reply, and may be called twice."""
        with self._held(closing=True):
            if not self._closed:
                self._closed = True
                self.engine.close()

    def _stream(self, prompt: Prompt, sampling: Sampling, adapter: str | None) -> Iterator[Delta]:
        with self._held():
            text = prompt if isinstance(prompt, str) else self.engine.render(_messages(prompt))
            yield from _deltas(self.engine.stream(text, sampling, adapter), sampling.stop)

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
        usage = Usage(prefill.total, prefill.cached, completion_tokens, prompt_seconds, completion_seconds)
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
