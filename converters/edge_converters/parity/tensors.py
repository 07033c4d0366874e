"""Does every tensor of the export hold the merged weights, as well as its type can?

What a type can is measured and not assumed: some rows of the true weights are quantised plainly, and the export may
lose hardly more on the same rows. So one tensor, or some rows of it, with wrong scales or without its LoRA is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_converters.parity.report import Check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TENSOR_LIMIT = 1.01
"""Times the plain loss, of a tensor's sampled rows. Right exports of the stand-in reach 1.003, a missing LoRA module
1.015 and more at 4 bits: errors add up in squares, and a tensor has many elements."""
ROW_LIMIT = 1.25
WEIGHTED_LIMITS = (1.6, 4.0)
"""The same two for a quantisation by an importance matrix, which gives some columns up for others."""
# Below this share of a row's size a difference is rounding on the way: a float16 or a bfloat16 file in between.
FLOOR = 3e-4
BRAIN_FLOOR = 2e-3
_SAMPLE = 1 << 18
_BLOCK = 1 << 20
_SUSPECTS = 32


@dataclass(frozen=True, slots=True)
class Stored:
    """A matrix of the export beside what it should hold, rows of outputs, both float32 [rows, columns].

    `decoded` and `true` give rows start:stop. `plain` quantises and dequantises rows in the matrix's own type.
    """

    name: str
    rows: int
    columns: int
    decoded: Callable[[int, int], NDArray[np.float32]]
    true: Callable[[int, int], NDArray[np.float32]]
    plain: Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Loss:
    """How many times the plain loss a tensor loses: over its sample, and in its worst row, whose number is `row`."""

    name: str
    tensor: float
    worst: float
    row: int

    def beyond(self, limits: tuple[float, float]) -> bool:
        return self.tensor > limits[0] or self.worst > limits[1]


def check_tensors(
    stored: Sequence[Stored], *, weighted: bool, floor: float, advance: Callable[[int, int], None]
) -> Check:
    """`weighted`: an importance matrix was used. `floor`: FLOOR, or BRAIN_FLOOR after a bfloat16 file in between."""
    limits = WEIGHTED_LIMITS if weighted else (TENSOR_LIMIT, ROW_LIMIT)
    losses = []
    for number, tensor in enumerate(stored, 1):
        losses.append(loss_of(tensor, floor))
        advance(number, len(stored))
    if not losses:
        return Check("tensors", None, None, None, "no tensor of this export can be compared by its name")
    bad = sorted((loss for loss in losses if loss.beyond(limits)), key=lambda loss: -max(loss.tensor, loss.worst))
    worst = max(losses, key=lambda loss: loss.tensor)
    if not bad:
        meaning = (
            f"all {len(losses)} tensors hold the merged weights as well as their type can; most is lost by "
            f"{worst.name}, as a multiple of what plain quantisation loses"
        )
        return Check("tensors", True, worst.tensor, limits[0], meaning)
    first = bad[0]
    others = f", and {len(bad) - 1} more: {', '.join(loss.name for loss in bad[1:4])}" if bad[1:] else ""
    meaning = (
        f"{first.name} loses {first.tensor:.3g} times as much as plain quantisation does, and {first.worst:.3g} times "
        f"in row {first.row}{others}"
    )
    return Check("tensors", False, max(first.tensor, first.worst), limits[0], meaning)


def loss_of(stored: Stored, floor: float = FLOOR) -> Loss:
    """Compare all rows, then quantise a sample of them and the worst ones plainly."""
    import numpy as np

    step = max(1, _BLOCK // stored.columns)
    errors, sizes = np.zeros(stored.rows), np.zeros(stored.rows)
    for start in range(0, stored.rows, step):
        stop = min(start + step, stored.rows)
        true = stored.true(start, stop)
        difference = stored.decoded(start, stop) - true
        errors[start:stop] = np.einsum("ij,ij->i", difference, difference, dtype=np.float64)
        sizes[start:stop] = np.einsum("ij,ij->i", true, true, dtype=np.float64)
    errors = np.nan_to_num(errors, nan=np.inf)
    count = min(stored.rows, max(8, _SAMPLE // stored.columns))
    sample = np.unique(np.linspace(0, stored.rows - 1, count).astype(np.int64))
    relative = errors / np.maximum(sizes, np.finfo(np.float64).tiny)
    suspects = np.argsort(relative, kind="stable")[-_SUSPECTS:]
    rows = np.unique(np.concatenate([sample, suspects]))
    allowed = floor**2 * sizes + 1e-20
    plain = np.zeros(stored.rows)
    plain[rows] = _plain_errors(stored, rows)
    ratios = np.zeros(stored.rows)
    ratios[rows] = np.sqrt(np.maximum(errors[rows] - allowed[rows], 0) / (plain[rows] + allowed[rows]))
    whole = np.sqrt(max(errors[sample].sum() - allowed[sample].sum(), 0) / (plain[sample] + allowed[sample]).sum())
    worst = int(ratios.argmax())
    return Loss(stored.name, float(whole), float(ratios[worst]), worst)


def _plain_errors(stored: Stored, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    found = np.empty(len(rows))
    for i, runs in _runs(rows):
        true = stored.true(int(runs[0]), int(runs[-1]) + 1)
        difference = stored.plain(true) - true
        found[i : i + len(runs)] = np.einsum("ij,ij->i", difference, difference, dtype=np.float64)
    return found


def _runs(rows: NDArray[np.int64]) -> Iterable[tuple[int, Any]]:
    """Neighbouring rows together, at most 256 at a time, with the position of their first in `rows`."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1 or i - start == 256:
            yield start, rows[start:i]
            start = i
