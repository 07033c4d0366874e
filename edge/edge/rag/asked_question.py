"""A question on its way to an answer: what was found for it, what that took, and what the model has said so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from edge.answer import Delta
from edge.rag.abstention import abstains, may_abstain
from edge.types import Evidence, Finish, Passage, Prefill, Sampling, Usage


@dataclass(slots=True)
class AskedQuestion:
    """A question with what was found for it: `evidence` is shown, at `pointed` the model is pointed. How likely the
    documents answer it is known as far as it was judged. What it took before its answer: `read`, the first reading of
    a prompt, and the `seconds` of readings that led to no words.
    """

    question: str
    sampling: Sampling
    passages: list[Passage]
    evidence: tuple[Evidence, ...]
    pointed: tuple[Evidence, ...]
    response_format: Any = None
    likely_by_search: float | None = None
    likely_by_model: float | None = None
    read: Prefill | None = None
    seconds: float = 0.0

    @property
    def likely(self) -> float | None:
        """The more doubtful of both judges is believed."""
        judged = [each for each in (self.likely_by_search, self.likely_by_model) if each is not None]
        return min(judged, default=None)

    def cost(self, usage: Usage | None = None) -> Usage:
        """`usage` of the answer, with that: what a question has read itself was not cached when it came."""
        usage, first = usage or Usage(), self.read or Prefill(0, 0, 0)
        return replace(
            usage,
            prompt_tokens=usage.prompt_tokens or first.total,
            cached_tokens=first.cached,
            restored_tokens=first.restored,
            prompt_seconds=usage.prompt_seconds + self.seconds,
        )


@dataclass(slots=True)
class PendingReply:
    """What the model has said so far. While it is `held` nothing of it is shown: it may become the reply that the
    passages do not answer, and then it has `abstained`."""

    held: bool
    text: str = ""
    thinking: str = ""
    finish: Finish = "cancelled"
    usage: Usage = field(default_factory=Usage)
    abstained: bool = False

    def add(self, delta: Delta) -> str:
        """The text that may be shown now."""
        self.thinking += delta.thinking
        # Many models open with a blank that belongs to the template, not to the answer.
        piece = delta.text if self.text else delta.text.lstrip()
        self.text += piece
        if delta.finish is not None and delta.usage is not None:
            self.finish, self.usage = delta.finish, delta.usage
        if not self.held or not (self.text or delta.finish):
            return piece
        # Who was cut off while thinking has said nothing about the passages.
        if abstains(self.text) and not (self.thinking and not self.text and self.finish == "length"):
            self.text, self.abstained = "", True
            return ""
        self.held = not delta.finish and may_abstain(self.text)
        return "" if self.held else self.text
