"""The engine seam: what a runtime must do so that everything above it need not know which one it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.errors import ContextOverflow, ModelError
from edge.types import Adapter, Finish, Message, Prefill, Sampling


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of generated text, whole characters only; `text` may be empty while a character is incomplete.

    `finish` is set on the last one: "stop" at an end-of-generation token, "length" at the limit. An engine puts all
    that is said into `text`; `thinking` is what `edge.engines.thinking` takes out of it.
    """

    text: str
    finish: Finish | None = None
    thinking: str = ""


def closed(name: str) -> Any:
    """What stands in the place of native handles after a close: whatever is asked of it is a ModelError, no crash."""
    return _Closed(name)


class _Closed:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, _attribute: str) -> Any:
        raise ModelError(f"{self._name} is closed; load it again")


class Interrupted(Exception):
    """What was being computed was given up because somebody asked for that; the engine is usable."""


def check_length(tokens: int, context: int) -> None:
    """Raise ModelError for an empty prompt, ContextOverflow for one that leaves no room for a reply."""
    if not tokens:
        raise ModelError("the prompt is empty; write something")
    if tokens >= context:
        raise ContextOverflow(
            f"the prompt has {tokens:,} tokens and the context holds {context:,}; "
            "shorten it or load the model with a larger context",
            needed=tokens + 1,
            limit=context,
        )


class Engine(Protocol):
    """One loaded model. One thing at a time: `Model` has a queue. `render` and `count` alone may run beside others."""

    context: int
    parameters: int | None
    """How many weights the model has, roughly; None where that is not known."""
    prefill_rate: float
    """Roughly how many tokens of a prompt it reads a second (`machine.prefill_rate`)."""
    device: str
    """Where it computes, for people: "CPU, 2 threads"."""

    @property
    def cache_error(self) -> str | None:
        """Why a state could not be kept, where that is the disk's fault."""

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        """The prompt text by the model's own chat template, up to where the assistant begins to speak; the template is
        told whether the model is to `think` first."""

    def count(self, text: str) -> int:
        """Tokens of `text`, special tokens such as `<|user|>` parsed as what they are."""

    def add_adapter(self, adapter: Adapter) -> None:
        """Make a LoRA available to `stream` by its name, which is new.

        Raises AdapterError when the file is broken or does not fit the base.
        """

    def remove_adapter(self, name: str) -> None:
        """Free a LoRA that was added under that name."""

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        """Yield a `Prefill` after every batch of the prompt, the last with done == total, then `Token`s.

        `adapter` is one that was added, at the scale it carries here; None is the plain base. `sampling.stop` is not
        looked at. Closing the generator cancels and leaves the engine usable. The KV of the prefix that this prompt
        shares with the one before is kept, never across adapters or scales.

        `prefix_boundaries` are positions in `prompt`, rising, up to which other prompts may begin alike. The prompt is
        then computed piece by piece between them, so that a state kept at the last one gives the same bits as computing
        does.
        """

    def score(self, prompt: str, continuations: Sequence[str], adapter: Adapter | None) -> list[float]:
        """The natural logarithm of the probability of each of `continuations`, none of them empty, right after
        `prompt`. The KV of the prompt is kept as by `stream`.
        """

    def prefill_cache(
        self,
        prompt: str,
        adapter: Adapter | None,
        prefix_boundaries: Sequence[int],
        stopped: Callable[[], bool] | None = None,
    ) -> int | None:
        """Compute `prompt` up to its last boundary and keep the state, unless it is kept already.

        The bytes of the state; 0 where it was there, None where this engine keeps none or it could not be kept.
        Raises Interrupted soon after `stopped` says so.
        """

    def save_kv_cache(self, beginning: str | None = None) -> bool:
        """Keep the state of all that was read and said last, for a prompt that begins with it; whether it was.

        With `beginning`, the text that prompts to come begin with, what differs from it is forgotten before.
        """

    def close(self) -> None:
        """Free the weights; calling it twice is harmless, and whatever is asked afterwards is a ModelError."""
