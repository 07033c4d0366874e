"""The seam between the proof and the two engines that run what was exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Turn = Mapping[str, str]
"""A message of a conversation: its "role" and its "content"."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Greedy tokens after a prompt. `stopped`: the engine ended by itself, its last token being the end token."""

    tokens: tuple[int, ...]
    stopped: bool


class Candidate(Protocol):
    """An exported model in the engine that will run it. Tokens are ids; nothing is added to them."""

    vocabulary: int
    special_by_text: frozenset[str]
    """Tokens that the engine takes for special ones by their text, whatever the export says of them."""

    def tokens(self, text: str) -> list[int]:
        """Ids of `text`, special tokens parsed as what they are, none added in front or behind."""

    def render(self, messages: Sequence[Turn]) -> str:
        """The prompt by the export's own chat template. Raises ModelError when the template cannot do it."""

    def ends(self, token: int) -> bool:
        """Whether the engine stops at this token."""

    def end_token(self) -> int:
        """The id that the export itself names as its end of sequence; -1 where it names none."""

    def could_name_an_end(self) -> bool:
        """Whether the export's format has room for one more end token than this export names."""

    def replies(self, prompts: Sequence[Sequence[int]], most: int, advance: Callable[[int], None]) -> list[Generated]:
        """At most `most` greedy tokens after every prompt; `advance(done)` counts the prompts."""

    def logits(self, tokens: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """[len(positions), vocabulary]: what the engine gives at these rising positions of
        `tokens`, read as one prompt."""

    def close(self) -> None: ...
