"""What adapters do to one tensor, computed for a block of its rows in float32, in peft's own order of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from threading import Lock
from typing import TYPE_CHECKING

from edge_converters.lora.peft_adapter import Lora, LoraModule, TokenRows
from edge_converters.weights.checkpoint import import_torch

if TYPE_CHECKING:
    import torch

Read = Callable[[slice], "torch.Tensor"]

# A block of this many elements (1 MiB in float32) stays in a core's cache between the steps, and its buffers are
# small enough that malloc hands the same pages out again instead of asking the system for fresh ones.
_BLOCK = 1 << 18
# Columns at a time where a norm runs over all rows: 32,064 rows of them are 8 MiB.
_COLUMNS = 64


def block_rows(shape: tuple[int, ...]) -> int:
    """How many rows of a tensor are merged at a time."""
    return max(16, _BLOCK // max(1, prod(shape[1:])) // 16 * 16)


@dataclass(slots=True)
class LowRank:
    """One adapter's b @ a for a weight W. `transposed`: W is [in, out] or an embedding [vocabulary, width], so that
    (b @ a) is turned round.

    With DoRA (https://arxiv.org/abs/2402.09353) W + delta is scaled to `magnitude` along the output.
    """

    lora: Lora
    module: LoraModule
    scale: float
    transposed: bool
    _factor: torch.Tensor | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight that this fits."""
        ins, outs = self.lora.shape(self.module.a)[1], self.lora.shape(self.module.b)[0]
        return (ins, outs) if self.transposed else (outs, ins)

    def delta(self, rows: slice, columns: slice = slice(None)) -> torch.Tensor:
        """The scaled change of those rows and columns, float32."""
        a, b = self.lora.read(self.module.a), self.lora.read(self.module.b)
        left, right = (a.T, b.T) if self.transposed else (b, a)
        return (left[rows].float() @ right[:, columns].float()).mul_(self.scale)

    def apply(self, block: torch.Tensor, rows: slice, unmerged: torch.Tensor, read: Read) -> None:
        """Change `block` [rows, columns] in place. `unmerged` is the block before any adapter, `read` gives such."""
        delta = self.delta(rows)
        if self.module.magnitude is None:
            block += delta
            return
        if self.transposed:
            with self._lock:
                factor = self._column_factor(read)
        else:
            norm = import_torch().linalg.norm(unmerged + delta, dim=1)
            factor = (self.lora.read(self.module.magnitude, rows).float() / norm).view(-1, 1)
        block += delta
        block *= factor

    def _column_factor(self, read: Read) -> torch.Tensor:
        """Magnitude over norm for every column, [1, columns]; the norms run over all rows."""
        if self._factor is None:
            assert self.module.magnitude is not None
            torch = import_torch()
            rows, columns = self.shape
            norm = torch.empty(columns)
            whole = torch.empty(rows, min(_COLUMNS, columns))
            for start in range(0, columns, _COLUMNS):
                part = slice(start, min(start + _COLUMNS, columns))
                strip = whole[:, : part.stop - start]
                strip.copy_(read(slice(None))[:, part])
                strip += self.delta(slice(None), part)
                norm[part] = torch.linalg.norm(strip.T, dim=1)
            self._factor = (self.lora.read(self.module.magnitude).float() / norm).view(1, -1)
        return self._factor


@dataclass(frozen=True, slots=True)
class BiasShift:
    """A bias that grows by `scale` times the bias of lora_B."""

    lora: Lora
    key: str
    scale: float

    def apply(self, block: torch.Tensor, rows: slice) -> None:
        block += self.lora.read(self.key, rows).float() * self.scale


@dataclass(slots=True)
class Change:
    """Everything that happens to one tensor of `shape`: `read` gives what it starts from (the base's, or the tensor
    that replaces it), then `low_rank` and `shifts` in the order of the adapters, then `tokens` replace whole rows.
    """

    shape: tuple[int, ...]
    read: Read
    low_rank: list[LowRank] = field(default_factory=list)
    shifts: list[BiasShift] = field(default_factory=list)
    tokens: list[tuple[Lora, TokenRows]] = field(default_factory=list)

    def result(self, rows: slice) -> torch.Tensor:
        """Those rows of the changed tensor: float32, contiguous. The same bits for any choice of rows."""
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("rows must follow one another")
        out: torch.Tensor = import_torch().empty(max(0, stop - start), *self.shape[1:])
        for block in self._blocks(start, stop):
            wanted = slice(max(block.start, start), min(block.stop, stop))
            target = out[wanted.start - start : wanted.stop - start]
            if wanted == block:
                self._fill(target, block)
            else:
                # A product of matrices may add in another order when it has fewer rows: compute the whole block.
                whole = out.new_empty(block.stop - block.start, *self.shape[1:])
                self._fill(whole, block)
                target.copy_(whole[wanted.start - block.start : wanted.stop - block.start])
        return out

    @property
    def block_rows(self) -> int:
        return block_rows(self.shape)

    def _blocks(self, start: int, stop: int) -> Iterator[slice]:
        """The pieces of a fixed division of the rows that touch `start:stop`."""
        step = self.block_rows
        for first in range(start // step * step, stop, step):
            yield slice(first, min(first + step, self.shape[0]))

    def _fill(self, block: torch.Tensor, rows: slice) -> None:
        block.copy_(self.read(rows))
        # Norms of DoRA belong to the weight before any adapter; only from the second adapter on is that another.
        unmerged = block.clone() if len(self.low_rank) > 1 else block
        for low_rank in self.low_rank:
            low_rank.apply(block, rows, unmerged, self.read)
        for shift in self.shifts:
            shift.apply(block, rows)
        for lora, tokens in self.tokens:
            trained = lora.read(tokens.key)
            for index, row in enumerate(tokens.rows):
                if rows.start <= row < rows.stop:
                    block[row - rows.start].copy_(trained[index])
