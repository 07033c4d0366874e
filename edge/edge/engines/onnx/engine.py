"""ONNX models on onnxruntime-genai. The search is our own: genai's knows neither min_p nor a window for the repeat
penalty, and choosing a token from its logits costs nothing beside computing them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from edge.engines.contract import Token, check_length, closed
from edge.engines.guidance import Guidance, GuidedVocabulary
from edge.engines.memory_fit import check_fit, choose_context
from edge.engines.onnx.bindings import bindings, load_model, providers, read_configuration, reason
from edge.engines.sampling import Sampler, log_probability
from edge.engines.tokenizer import HuggingFaceTokenizer
from edge.errors import AdapterError, ModelError
from edge.system.machine import physical_cores, prefill_rate
from edge.types import Adapter, Message, Prefill, Sampling

BATCH = 64
"""Tokens that are read in one step: large enough for full speed, small enough to cancel in between and for the logits
of all of them, which the model computes for every token of a step."""

_Key = tuple[str | None, float]
"""What KV depends on beside its tokens: the adapter's name and scale."""


class OnnxEngine:
    """A folder with genai_config.json, as `edge convert onnx` makes it. See `Engine` for the contract.

    `context` is in tokens (None: 4096 or what the model was trained for, if less); `threads` None takes the physical
    cores; `provider` is "cpu", "cuda" or "dml", None takes what the installed package has; `force` loads what does not
    fit into memory, too.
    Raises ModelNotFound, ModelTooLarge, ModelError or MissingExtra.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int | None = None,
        threads: int | None = None,
        provider: str | None = None,
        force: bool = False,
    ) -> None:
        self._path = path
        self._og = bindings()
        self._config = read_configuration(path)
        self._tokenizer = HuggingFaceTokenizer(path)
        self._ends = self._config.ends | self._tokenizer.ends
        self.parameters = self._config.parameters
        self.cache_error: str | None = None
        self.context = choose_context(context, self._config.context, self._path.name)
        if not force and providers(provider) == ["cpu"]:
            check_fit(path, context=self.context)
        threads = threads or physical_cores()
        self._model: Any = load_model(path, threads=threads, provider=provider)
        device = str(self._model.device_type)
        self.prefill_rate = prefill_rate(self.parameters or 0, threads, gpu=device != "CPU")
        self.device = f"CPU, {threads} threads" if device == "CPU" else device
        self._adapters = _Adapters(self._og, self._model)
        self._generator: Any = None
        self._key: _Key = (None, 0.0)
        self._tokens: list[int] = []
        self._long = False

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        return self._tokenizer.template.render(messages, think=think)

    def count(self, text: str) -> int:
        return len(self._tokenizer.tokens(text))

    def add_adapter(self, adapter: Adapter) -> None:
        path = Path(adapter.path)
        if not path.is_file():
            raise AdapterError(f"{path} is not there; name an .onnx_adapter file")
        # What does not fit shows only when it is used; the KV of the try must not stand beside the one in use.
        self._forget()
        self._adapters.add(adapter)
        try:
            self._start((adapter.name, 1.0), length=2)
            self._generator.append_tokens([next(iter(self._ends), 0)])
        except (RuntimeError, ModelError, ValueError) as error:  # ValueError: a damaged name in what it reports
            self._forget()
            self._adapters.remove(adapter.name)
            raise AdapterError(
                f"{path} does not fit {self._path.name} ({reason(error)}); it needs a base with adapter slots, made "
                "from the model it was trained on: edge convert adapter --base-out"
            ) from error
        self._forget()

    def remove_adapter(self, name: str) -> None:
        if self._key[0] == name:
            self._forget()
        self._adapters.remove(name)

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        tokens = self._tokenizer.prompt(prompt)
        check_length(len(tokens), self.context)
        yield from self._prefill(tokens, _key(adapter))
        yield from self._decode(sampling)

    def score(self, prompt: str, continuations: Sequence[str], adapter: Adapter | None) -> list[float]:
        tokens = self._tokenizer.prompt(prompt)
        scores = []
        for continuation in continuations:
            spoken = self._tokenizer.tokens(continuation)
            check_length(len(tokens) + len(spoken), self.context)
            for _ in self._prefill(tokens, _key(adapter)):
                pass
            score = 0.0
            for number, token in enumerate(spoken):
                if number:
                    self._compute(spoken[number - 1 : number])
                score += log_probability(self._generator.get_logits().reshape(-1), token)
            scores.append(score)
        return scores

    def prefill_cache(
        self,
        prompt: str,
        adapter: Adapter | None,
        prefix_boundaries: Sequence[int],
        stopped: Callable[[], bool] | None = None,
    ) -> int | None:
        """onnxruntime-genai can go back in a prompt and not take one's state out: nothing is kept."""
        return None

    def save_kv_cache(self, beginning: str | None = None) -> bool:
        return False

    def close(self) -> None:
        if self._model is None:
            return
        self._forget()
        self._adapters.close()
        self._model = None
        self._og = self._tokenizer = self._adapters = self._generator = closed(self._path.name)

    def _start(self, key: _Key, *, length: int | None = None) -> None:
        """A new generator with an empty KV cache: one that has an adapter cannot be rid of it."""
        self._forget()
        name, scale = key
        params = self._og.GeneratorParams(self._model)
        params.set_search_options(max_length=length or self.context, do_sample=False, batch_size=1, num_beams=1)
        try:
            generator = self._og.Generator(self._model, params)
        except RuntimeError as error:
            raise ModelError(
                f"a context of {self.context:,} tokens could not be made for {self._path.name}: {reason(error)}; "
                "free some memory or ask for a smaller context"
            ) from error
        if name is not None:
            generator.set_active_adapter(*self._adapters.loaded(name, scale))
        self._generator, self._key = generator, key

    def _forget(self) -> None:
        self._generator = None
        self._tokens = []
        self._long = False

    def _prefill(self, tokens: list[int], key: _Key) -> Iterator[Prefill]:
        cached = self._resume(tokens, key)
        total, border = len(tokens), self._config.border or len(tokens)
        done = cached
        while done < total:
            # LongRoPE chooses its factors by the length so far: the first piece goes beyond the border or none does.
            end = max(done + BATCH, border + 1) if total > border else done + BATCH
            self._compute(tokens[done:end])
            done = min(end, total)
            yield Prefill(total=total, cached=cached, done=done)

    def _resume(self, tokens: list[int], key: _Key) -> int:
        """Keep the KV of what `tokens` begins with, and say how many tokens that is; the last one is never kept, since
        its logits choose the first one of the reply."""
        if self._generator is None or key != self._key:
            self._start(key)
            return 0
        same = (i for i, (old, new) in enumerate(zip(self._tokens, tokens, strict=False)) if old != new)
        cached = min(next(same, len(self._tokens)), len(tokens) - 1)
        if self._long != self._beyond(len(tokens)):
            cached = 0
        if cached < len(self._tokens):
            try:
                self._generator.rewind_to(cached)
            except RuntimeError:  # a sliding cache cannot go back
                self._start(key)
                return 0
            del self._tokens[cached:]
            self._long = self._long and cached > 0
        return cached

    def _beyond(self, length: int) -> bool:
        return self._config.border is not None and length > self._config.border

    def _compute(self, tokens: list[int]) -> None:
        import numpy as np

        crosses = not self._long and self._beyond(len(self._tokens) + len(tokens))
        try:
            if crosses and self._tokens:
                self._generator.rewind_to(0)
                tokens, self._tokens = self._tokens + tokens, []
            self._generator.append_tokens(np.array([tokens], np.int32))
        except RuntimeError as error:
            self._forget()
            raise ModelError(f"onnxruntime-genai could not compute {len(tokens)} tokens: {reason(error)}") from error
        self._tokens.extend(tokens)
        self._long = self._long or crosses

    def _decode(self, sampling: Sampling) -> Iterator[Token]:
        decoder, sampler = self._tokenizer.decoder(), Sampler(sampling)
        room = min(sampling.max_tokens, self.context - len(self._tokens))
        if room < 1:
            yield Token("", "length")
            return
        guidance = None if sampling.schema is None else Guidance(self._guided, sampling.schema)
        for left in range(room - 1, -1, -1):
            token = self._next(sampler, guidance)
            if token in self._ends:
                yield Token(decoder.decode(b"", True), "stop")
                return
            if not left:
                yield Token(decoder.decode(self._tokenizer.piece(token), True), "length")
                return
            yield Token(decoder.decode(self._tokenizer.piece(token)))
            if guidance is not None and guidance.complete:
                yield Token("", "stop")
                return
            self._compute([token])

    def _next(self, sampler: Sampler, guidance: Guidance | None) -> int:
        logits = self._generator.get_logits().reshape(-1)
        if guidance is not None:
            guidance.restrict(logits)
        token = sampler.choose(logits)
        sampler.accept(token)
        if guidance is not None:
            guidance.accept(token)
        return token

    @cached_property
    def _guided(self) -> GuidedVocabulary:
        return self._tokenizer.guided(self._ends)


def _key(adapter: Adapter | None) -> _Key:
    return (None, 0.0) if adapter is None else (adapter.name, adapter.scale)


class _Adapters:
    """The LoRAs of a model, by name and scale. onnxruntime knows no scale, so that another one is another file: of
    each LoRA, the weights as they are and those of the scale used last are loaded.
    """

    def __init__(self, og: Any, model: Any) -> None:
        self._store = og.Adapters(model)
        self._paths: dict[str, str] = {}
        self._scaled: dict[str, tuple[float, Path]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written = 0

    def add(self, adapter: Adapter) -> None:
        try:
            self._store.load(adapter.path, _label(adapter.name, 1.0))
        except (RuntimeError, ValueError) as error:
            raise AdapterError(
                f"{adapter.path} is no .onnx_adapter file or damaged; make it anew with `edge convert adapter`"
            ) from error
        self._paths[adapter.name] = adapter.path

    def loaded(self, name: str, scale: float) -> tuple[Any, str]:
        """What `set_active_adapter` wants."""
        if scale != 1.0 and self._scaled.get(name, (1.0,))[0] != scale:
            self._unload_scaled(name)
            file = self._write(name, scale)
            self._store.load(str(file), _label(name, scale))
            self._scaled[name] = scale, file
        return self._store, _label(name, scale)

    def remove(self, name: str) -> None:
        self._unload_scaled(name)
        self._store.unload(_label(name, 1.0))
        del self._paths[name]

    def close(self) -> None:
        for name in list(self._paths):
            self.remove(name)
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = self._store = None

    def _unload_scaled(self, name: str) -> None:
        if name in self._scaled:
            scale, file = self._scaled.pop(name)
            self._store.unload(_label(name, scale))
            file.unlink()

    def _write(self, name: str, scale: float) -> Path:
        """A file of the weights with each B times `scale`; kept as long as it is loaded, since onnxruntime maps it."""
        from onnxruntime import AdapterFormat, OrtValue

        given = AdapterFormat.read_adapter(self._paths[name])
        weights = {key: value.numpy() for key, value in given.get_parameters().items()}
        scaled = {key: array * array.dtype.type(scale) if "lora_B" in key else array for key, array in weights.items()}
        made = AdapterFormat()
        made.set_adapter_version(given.get_adapter_version())
        made.set_model_version(given.get_model_version())
        made.set_parameters({key: OrtValue.ortvalue_from_numpy(array) for key, array in scaled.items()})
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="edge-adapters-")
        self._written += 1
        file = Path(self._folder.name) / f"{self._written}.onnx_adapter"
        made.export_adapter(str(file))
        return file


def _label(name: str, scale: float) -> str:
    return f"{name} at {scale!r}"
