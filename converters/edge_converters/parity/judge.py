"""Figures -> checks: what is good enough, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_converters.parity.candidate import Candidate, Generated
from edge_converters.parity.measure import Figures, Probe
from edge_converters.types import Check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Limits:
    """For a precision that loses nothing on purpose.

    `mean` and `worst`: KL divergence in nats, over all positions and at one; `top`: the least share of positions
    with the same best token; `perplexity`: the most that its ratio may differ from 1; `tie`: a best token that is
    so little (nats) above the second is no evidence when the two change places.
    """

    mean: float
    worst: float
    top: float
    perplexity: float
    tie: float


# Right exports of the 135M stand-in (1,089 positions), mean and worst: f32 1.0e-6 and 6.0e-5, ONNX fp32 1.3e-11 and
# 2.9e-10, f16 3.9e-6 and 1.3e-4, bf16 2.3e-4 and 1.6e-2. The limits are 10 to 80 times that, for models of other sizes.
EXACT = Limits(mean=5e-5, worst=5e-3, top=0.999, perplexity=1e-3, tie=0.02)
HALF = Limits(mean=1e-4, worst=1e-2, top=0.995, perplexity=2e-3, tie=0.05)
BF16 = Limits(mean=2.5e-3, worst=0.25, top=0.98, perplexity=1e-2, tie=0.2)
LIMITS = {"f32": EXACT, "fp32": EXACT, "f16": HALF, "fp16": HALF, "bf16": BF16}

LOSS = 1.25
"""How much more than the same quantisation of the untouched base an export may lose."""
_LONG_LOSS = 2.0
_FAR_BELOW = 0.1
_SHARE = (0.5, 1.5)
_NO_EFFECT = 1e-3


def pick(figures: Figures, probes: Sequence[Probe], *groups: str) -> Figures:
    import numpy as np

    return figures.where(np.isin(figures.probe, [i for i, probe in enumerate(probes) if probe.group in groups]))


def agreement(figures: Figures) -> float:
    """The share of positions with the same best token."""
    return float((figures.best == figures.best_expected).mean())


def perplexity_ratio(figures: Figures) -> float:
    import numpy as np

    return float(np.exp(np.nanmean(figures.nll) - np.nanmean(figures.nll_expected)))


def divergence(figures: Figures, limits: Limits) -> list[Check]:
    """A lossless precision against absolute limits; `figures` of the replies, texts and endings."""
    mean, worst, top = float(figures.kl.mean()), float(figures.kl.max()), _agreement_but_ties(figures, limits)
    count = len(figures.kl)
    return [
        Check(
            "divergence", mean <= limits.mean, mean, limits.mean, f"mean KL divergence in nats at {count:,} positions"
        ),
        Check("worst position", worst <= limits.worst, worst, limits.worst, "the largest KL divergence among them"),
        Check(
            "top token", top >= limits.top, top, limits.top, "share of positions with the same best token, ties apart"
        ),
    ]


def perplexity(figures: Figures, limits: Limits | None) -> Check:
    """`figures` of the texts."""
    off = abs(perplexity_ratio(figures) - 1)
    limit = limits.perplexity if limits else None
    return Check(
        "perplexity",
        None if limit is None else off <= limit,
        off,
        limit,
        "how far the perplexity of texts is off, as a share",
    )


def quantisation_loss(figures: Figures, base: Figures) -> Check:
    """The export's loss against that of the same quantisation of the untouched base, at the same positions.

    The sample is finite: what is held against the limit is the ratio less two of its standard errors, which are
    taken over probes, for the positions of one text are not independent.
    """
    import numpy as np

    mine, theirs = float(figures.kl.mean()), float(base.kl.mean())
    ratio = mine / max(theirs, 1e-9)
    excess = figures.kl - ratio * base.kl
    by_probe = np.bincount(figures.probe, weights=excess)
    error = float(np.sqrt((by_probe**2).sum())) / len(excess) / max(theirs, 1e-9)
    return Check(
        "quantisation loss",
        ratio - 2 * error <= LOSS,
        ratio,
        LOSS,
        f"mean KL {mine:.3g} nats against {theirs:.3g} of the same quantisation of the untouched base, as a ratio "
        f"(standard error {error:.2f}, two of which are allowed for)",
    )


def long_prompts(figures: Figures, limits: Limits | None, short: float, note: str) -> Check:
    """`figures` of the long prompts; `short` is the mean KL of the short ones, which measures a lossy precision."""
    import numpy as np

    limit = limits.mean if limits else _LONG_LOSS * short

    ends = [int(position) for position in np.unique(figures.position) if position + 1 not in figures.position]
    parts = {f"{end + 2:,}": figures.where(figures.position <= end) for end in ends}
    previous, means = -1, {}
    for end, (name, part) in zip(ends, parts.items(), strict=True):
        means[name] = float(part.where(part.position > previous).kl.mean())
        previous = end
    worst = max(means.values())
    return Check(
        "long prompts",
        worst <= limit,
        worst,
        limit,
        "mean KL before " + ", ".join(f"{name} tokens {mean:.2g}" for name, mean in means.items()) + note,
    )


def no_long_prompts(longest: int) -> Check:
    return Check("long prompts", None, None, None, f"the model sees {longest:,} tokens, so there are no long prompts")


def greedy(probes: Sequence[Probe], generated: Sequence[Generated], figures: Figures, limits: Limits) -> Check:
    """The reference's best token at every position of a reply is the candidate's: then both say the same greedily."""
    same = ties = positions = 0
    first = ""
    for i, (probe, reply) in enumerate(zip(probes, generated, strict=False)):
        own = figures.where(figures.probe == i)
        other = own.best_expected != _array(reply.tokens)
        apart = other & (own.margin > limits.tie)
        positions, ties = positions + len(reply.tokens), ties + int((other & ~apart).sum())
        same += not apart.any()
        if apart.any() and not first:
            first = f"; first {probe.name!r} at token {int(apart.argmax()) + 1}"
    count = len(generated)
    return Check(
        "greedy replies",
        same == count,
        same,
        count,
        f"replies that agree token by token, of {positions} tokens, {ties} of them near-ties (gap below {limits.tie})"
        + first,
    )


def stops(
    probes: Sequence[Probe],
    generated: Sequence[Generated],
    figures: Figures,
    candidate: Candidate,
    ends: Sequence[int],
    limits: Limits | None,
) -> Check:
    """Where the reference ends its reply, the engine really stops, and the export knows the base's end tokens."""
    unknown = [token for token in ends if not candidate.ends(token)]
    named, tie = candidate.end_token(), limits.tie if limits else 0
    expected = stopped = ran_on = 0
    missed: set[int] = set()
    for i, reply in enumerate(generated):
        own = figures.where(figures.probe == i)
        for at, (token, sure) in enumerate(zip(own.best_expected, own.margin > tie, strict=True)):
            if token in ends and sure:
                expected += 1
                stopped += reply.stopped and at == len(reply.tokens) - 1
                missed.update({int(token)} & set(unknown))
        ran_on += sum(token in ends for token in reply.tokens[:-1])
        ran_on += not reply.stopped and reply.tokens[-1] in ends
    complete = figures.where(_array([probes[i].group == "end" for i in figures.probe]).astype(bool))
    for best, right, margin in zip(complete.best, complete.best_expected, complete.margin, strict=True):
        if right in ends and margin > tie:
            expected += 1
            stopped += candidate.ends(int(best))
            missed.update({int(right)} & set(unknown))
    reasons = []
    if unknown and (missed or candidate.could_name_an_end()):
        reasons.append(f"the engine does not stop at token {min(missed or unknown)}, where the base does")
    if named not in ends:
        reasons.append(f"the export names {named} as its end token and the base {_listed(ends)}")
    if ran_on:
        reasons.append(f"{ran_on} replies went on after an end token")
    if limits and stopped < expected:
        reasons.append("a reply goes on where the reference ends it")
    return Check(
        "stop token",
        not reasons,
        stopped,
        expected,
        "; ".join(reasons) or _stops_fine(expected, ends, unknown, generated),
    )


def _stops_fine(expected: int, ends: Sequence[int], unknown: Sequence[int], generated: Sequence[Generated]) -> str:
    known = [token for token in ends if token not in unknown]
    fine = (
        f"replies that stop where the reference stops; the base ends at {_listed(ends)}"
        if expected
        else f"the engine stops at the base's end tokens ({_listed(known)}); no reply of the reference came to its "
        "end here"
    )
    if unknown:
        fine += f"; the file format has no place for {_listed(unknown)} too, with which no reply ended here"
    early = sorted({reply.tokens[-1] for reply in generated if reply.stopped and reply.tokens[-1] not in ends})
    if early:
        fine += f"; the engine also ends a reply at {_listed(early)}, by the token's text, where the base goes on"
    return fine


def _listed(tokens: Sequence[int]) -> str:
    return ", ".join(map(str, tokens))


def adapter_effect(figures: Figures, base: Figures | None) -> list[Check]:
    """`figures` of the export against base+adapters; `base`, for a lossy precision, of the same quantisation of the
    untouched base against base+adapters: what both lost by rounding cancels out in their difference.
    """
    effect, left = float(figures.kl_plain.mean()), float(figures.kl.mean())
    if effect < _NO_EFFECT:
        meaning = (
            f"the adapter hardly changes these prompts (KL {effect:.2g} nats); give prompts of its own domain "
            "with --prompts"
        )
        return [Check("adapter effect", None, effect, _NO_EFFECT, meaning)]
    span = float(figures.span.sum())
    gone = float(figures.shift.sum()) - (float(base.shift.sum()) if base else 0.0)
    share = gone / span
    low, high = _SHARE
    checks = [
        Check(
            "adapter effect",
            low <= share <= high,
            share,
            low,
            f"how much of the adapter's effect (KL {effect:.3g} nats from the base) is in the export; 1 is all of it",
        )
    ]
    if base is None:
        ratio = left / effect
        checks.append(
            Check("effect kept", ratio <= _FAR_BELOW, ratio, _FAR_BELOW, "KL to base+adapters as a share of the effect")
        )
    return checks


def _agreement_but_ties(figures: Figures, limits: Limits) -> float:
    return float(((figures.best == figures.best_expected) | (figures.margin <= limits.tie)).mean())


def _array(tokens: Sequence[int]) -> NDArray[np.int64]:
    import numpy as np

    found: NDArray[Any] = np.array(tokens)
    return found
