"""Two models' logits at the same positions -> what differs, one figure a position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_converters.parity.candidate import Candidate
from edge_converters.parity.reference import Reference
from edge_converters.weights.checkpoint import import_torch

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

# Positions whose logits are in memory at once, and of those, the ones that are in float64.
_BLOCK = 256
_ROWS = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """Tokens, and the positions at which the distribution of the next token is compared.

    `group` says what for: "reply" (from the last token of a prompt on), "text", "long" or "end".
    """

    name: str
    group: str
    tokens: tuple[int, ...]
    positions: tuple[int, ...]


class Expected:
    """A reference's distributions at the positions of `probes`, kept as hidden states: a few megabytes."""

    def __init__(self, reference: Reference, probes: Sequence[Probe]) -> None:
        self._reference = reference
        hidden = reference.hidden([probe.tokens for probe in probes])
        self._hidden = [states[list(probe.positions)].clone() for states, probe in zip(hidden, probes, strict=True)]

    def of(self, probes: Sequence[Probe]) -> Expected:
        """The same reference's distributions at the positions of other probes."""
        return Expected(self._reference, probes)

    def logits(self, indices: Sequence[int]) -> torch.Tensor:
        """float32 [positions of these probes, vocabulary]."""
        torch = import_torch()
        return self._reference.logits(torch.cat([self._hidden[i] for i in indices]))


@dataclass(frozen=True, slots=True)
class Figures:
    """One entry a position, in the order of the probes; in nats where not said otherwise.

    `kl` is KL(reference || candidate); `kl_plain` KL(reference || base without adapters). `margin` is how far the
    reference's best token is above its second. `nll` and `nll_expected` are how much probability the next token of
    the text has, as negative logarithm. `shift` is how far the candidate's logits go along the direction from the
    base to base+adapters, `span` how long that way is: their covariance and variance under the reference.
    """

    probe: NDArray[np.int64]
    position: NDArray[np.int64]
    kl: NDArray[np.float64]
    kl_plain: NDArray[np.float64]
    best: NDArray[np.int64]
    best_expected: NDArray[np.int64]
    margin: NDArray[np.float64]
    nll: NDArray[np.float64]
    nll_expected: NDArray[np.float64]
    shift: NDArray[np.float64]
    span: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Figures:
        return Figures(*(getattr(self, name)[chosen] for name in self.__slots__))


def compare(
    probes: Sequence[Probe],
    against: Sequence[tuple[Expected, Expected | None]],
    candidate: Candidate,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Figures]:
    """Run `candidate` once over the probes; figures for each pair of a reference and the base without adapters.

    None in the place of the base: the reference itself. `advance(done, total)` counts tokens.
    """
    import numpy as np

    torch = import_torch()
    total, done = sum(len(probe.tokens) for probe in probes), 0
    columns: list[list[list[NDArray[Any]]]] = [[] for _ in against]
    for group in _groups(probes):
        logits = []
        for i in group:
            logits.append(torch.from_numpy(candidate.logits(probes[i].tokens, probes[i].positions)))
            done += len(probes[i].tokens)
            advance(done, total)
        found = torch.cat(logits)
        places = np.array([position for i in group for position in probes[i].positions])
        owners = np.repeat(np.array(group), [len(probes[i].positions) for i in group])
        following = torch.tensor([_following(probes[i], position) for i in group for position in probes[i].positions])
        for column, (expected, plain) in zip(columns, against, strict=True):
            reference = expected.logits(group)
            base = reference if plain is None else plain.logits(group)
            for start in range(0, len(found), _ROWS):
                part = slice(start, start + _ROWS)
                figures = _rows(reference[part], base[part], found[part], following[part])
                column.append([owners[part], places[part], *figures])
    return [Figures(*(np.concatenate(parts) for parts in zip(*column, strict=True))) for column in columns]


def _groups(probes: Sequence[Probe]) -> Iterator[list[int]]:
    group: list[int] = []
    size = 0
    for i, probe in enumerate(probes):
        if group and size + len(probe.positions) > _BLOCK:
            yield group
            group, size = [], 0
        group.append(i)
        size += len(probe.positions)
    if group:
        yield group


def _following(probe: Probe, position: int) -> int:
    return probe.tokens[position + 1] if position + 1 < len(probe.tokens) else -1


def _rows(
    reference: torch.Tensor, base: torch.Tensor, found: torch.Tensor, following: torch.Tensor
) -> list[NDArray[Any]]:
    """The figures of some positions, in float64: differences of single roundings must not drown."""
    torch = import_torch()
    width = min(reference.shape[1], base.shape[1], found.shape[1])
    p, b, q = (torch.log_softmax(x[:, :width].double(), -1) for x in (reference, base, found))
    weight = p.exp()
    adapter_shift, export_shift = p - b, q - b
    mean_adapter, mean_export = ((weight * x).sum(-1, keepdim=True) for x in (adapter_shift, export_shift))
    known = following.clamp(min=0).unsqueeze(1)
    unknown = following < 0
    top = p.topk(2, dim=-1)
    nll, nll_expected = ((-x.gather(1, known).squeeze(1)).masked_fill(unknown, float("nan")) for x in (q, p))
    columns = [
        (weight * (p - q)).sum(-1),
        (weight * adapter_shift).sum(-1),
        q.argmax(-1),
        top.indices[:, 0],
        top.values[:, 0] - top.values[:, 1],
        nll,
        nll_expected,
        (weight * (export_shift - mean_export) * (adapter_shift - mean_adapter)).sum(-1),
        (weight * (adapter_shift - mean_adapter) ** 2).sum(-1),
    ]
    return [column.numpy() for column in columns]
