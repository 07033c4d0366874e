"""Does every tensor of the export hold the merged weights, as well as its type can?

What a type can is measured and not assumed: some rows of the true weights are quantised plainly, and the export may
lose hardly more on the same rows. So one tensor, or some rows of it, with wrong scales or without its LoRA is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_converters.types import Check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TENSOR_LIMIT = 1.01
"""Times the plain loss, of a tensor's sampled rows. Right exports of the stand-in reach 1.003, a missing LoRA module
1.015 and more at 4 bits: errors add up in squares, and a tensor has many elements."""
ROW_LIMIT = 1.5
WEIGHTED_LIMITS = (1.6, 4.0)
"""The same two for a quantisation by an importance matrix, which gives some columns up for others."""
# Below this share of a row's size a difference is rounding on the way: a float16 or a bfloat16 file in between.
FLOOR = 3e-4
BF16_FLOOR = 2e-3
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
    """Compare all rows, and quantise a sample of them plainly; then those that lose more than any of the sample."""
    import numpy as np

    step = max(1, _BLOCK // stored.columns)
    share = min(1.0, _SAMPLE / (stored.rows * stored.columns))
    errors, sizes, plain = np.zeros(stored.rows), np.zeros(stored.rows), np.full(stored.rows, np.nan)
    for start in range(0, stored.rows, step):
        rows = np.arange(start, min(start + step, stored.rows))
        true = stored.true(start, len(rows) + start)
        errors[rows], sizes[rows] = _squares(stored.decoded(start, len(rows) + start) - true), _squares(true)
        chosen = np.unique(np.linspace(0, len(rows) - 1, max(1, round(len(rows) * share))).astype(np.int64))
        plain[rows[chosen]] = _plain_errors(stored, true[chosen])
    errors = np.nan_to_num(errors, nan=np.inf, posinf=np.finfo(np.float64).max / (len(errors) + 1))
    allowed = floor**2 * sizes + 1e-20
    sampled = ~np.isnan(plain)
    whole = max(errors[sampled].sum() - allowed[sampled].sum(), 0) / (plain[sampled] + allowed[sampled]).sum()
    usual = ((plain[sampled] + allowed[sampled]) / (sizes[sampled] + 1e-20)).max()
    relative = np.where(sampled, 0, errors / (sizes + 1e-20))
    for row in np.argsort(relative, kind="stable")[-_SUSPECTS:]:
        if relative[row] > usual:
            plain[row] = _plain_errors(stored, stored.true(int(row), int(row) + 1))[0]
    ratios = np.maximum(errors - allowed, 0) / (plain + allowed)
    worst = int(np.nanargmax(ratios))
    return Loss(stored.name, float(np.sqrt(whole)), float(np.sqrt(ratios[worst])), worst)


def _plain_errors(stored: Stored, true: NDArray[np.float32]) -> NDArray[np.float64]:
    return _squares(stored.plain(true) - true)


def _squares(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of the squares of every row."""
    import numpy as np

    found: NDArray[np.float64] = np.einsum("ij,ij->i", values, values, dtype=np.float64)
    return found
