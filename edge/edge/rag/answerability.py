"""Whether the documents tell, by the model's own judgement: asked for Yes or No, it is right more often than chance.

Retrieval knows whether passages are about a question; whether they answer it, only a reader knows. What a Yes is worth
differs from model to model, so that each is tried on questions whose answers are known, and is believed only as far as
it was right (Platt scaling: Platt, "Probabilistic Outputs for Support Vector Machines", 1999).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from edge.errors import StorageError, UsageError
from edge.model import Model
from edge.rag.answerability_examples import EXAMPLES
from edge.rag.citations import lexical_evidence
from edge.rag.prompts import SYSTEM_WITH_PASSAGES, is_small, turn
from edge.system.paths import calibrations_dir, ensure_dir
from edge.types import Evidence, Message, Passage

ASKED = "\n\nDo the passages tell the answer to this question? Reply with Yes or No."
SHARE = 0.8
"""Of the questions that people ask their documents, those that the documents answer, as the fit assumes."""

_LEAST = 0.65
"""AUROC on its questions from which on a model is believed at all. Chance is 0.5."""
_STEADY = 0.002
"""Weight that holds the slope back where the questions were told apart without a mistake."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question with what search found for it, and whether that tells."""

    question: str
    passages: tuple[Passage, ...]
    evidence: tuple[Evidence, ...]
    answerable: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a model's Yes is worth. `auroc`: how often a question that is answered got more of a Yes than one that is
    not, in `cases` questions."""

    slope: float
    offset: float
    auroc: float
    cases: int

    @property
    def believed(self) -> bool:
        return self.auroc >= _LEAST and self.slope > 0

    def probability(self, log_odds: float) -> float:
        """That the passages tell, 0 to 1."""
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, self.slope * log_odds + self.offset))))


def log_odds(model: Model, prompt: Sequence[Message], *, adapter: str | None = None) -> float:
    """How much rather the model says Yes than No when it is asked whether the passages of `prompt`, whose last message
    is a question, tell. The KV of that prompt is kept. Raises ContextOverflow where there is no room to ask."""
    question = replace(prompt[-1], content=prompt[-1].content + ASKED)
    yes, no = model.score([*prompt[:-1], question], ("Yes", "No"), adapter=adapter)
    return yes - no


def calibrate(
    model: Model,
    cases: Iterable[Case] | None = None,
    *,
    adapter: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Ask the model about `cases` (None: edge's own) and fit. Raises UsageError unless there are some of each kind."""
    rows = []
    small = is_small(model.parameters)
    for case in own_cases() if cases is None else cases:
        prompt = [
            Message("system", SYSTEM_WITH_PASSAGES),
            Message("user", turn(case.question, case.passages, case.evidence, small=small)),
        ]
        rows.append((log_odds(model, prompt, adapter=adapter), case.answerable))
        if progress is not None:
            progress(len(rows))
    answerable = sum(label for _, label in rows)
    if min(answerable, len(rows) - answerable) < 4:
        raise UsageError("a calibration needs questions that the documents answer and others: four of each at least")
    slope, offset = fit(rows)
    return Calibration(slope, offset, auroc(rows), len(rows))


def own_cases() -> list[Case]:
    """Those of `answerability_examples`: 64 questions to 16 passages."""
    cases = []
    for example in EXAMPLES:
        passages = (Passage(example.passage, "example", None, None, 0, len(example.passage), 1.0, ""),)
        for answerable, questions in ((True, example.answerable), (False, example.unanswerable)):
            for question in questions:
                cases.append(Case(question, passages, lexical_evidence(question, passages), answerable))
    return cases


def fit(rows: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and offset of a logistic regression of (score, answerable) by Newton's method; the two kinds weigh as
    they are believed to be asked (`SHARE`), however many there are of each."""
    counts = {kind: sum(label is kind for _, label in rows) for kind in (True, False)}
    mean = sum(score for score, _ in rows) / len(rows)
    spread = math.sqrt(sum((score - mean) ** 2 for score, _ in rows) / len(rows)) or 1.0
    points = [
        ((score - mean) / spread, float(label), (SHARE if label else 1 - SHARE) / counts[label])
        for score, label in rows
    ]
    a, b = 0.0, math.log(SHARE / (1 - SHARE))
    for _ in range(50):
        gradient_a, gradient_b, aa, ab, bb = _STEADY * a, 0.0, _STEADY, 0.0, 1e-9
        for x, y, weight in points:
            p = 1 / (1 + math.exp(-max(-30.0, min(30.0, a * x + b))))
            gradient_a += weight * (p - y) * x
            gradient_b += weight * (p - y)
            curvature = weight * p * (1 - p)
            aa, ab, bb = aa + curvature * x * x, ab + curvature * x, bb + curvature
        determinant = aa * bb - ab * ab
        a -= (bb * gradient_a - ab * gradient_b) / determinant
        b -= (aa * gradient_b - ab * gradient_a) / determinant
    return a / spread, b - a * mean / spread


def auroc(rows: Sequence[tuple[float, bool]]) -> float:
    """How often a score of an answerable question is above one of the others; a tie counts half."""
    pairs = list(product((score for score, label in rows if label), (score for score, label in rows if not label)))
    return sum((high > low) + (high == low) / 2 for high, low in pairs) / len(pairs)


def save(calibration: Calibration, model: Model, *, adapter: str | None = None) -> Path:
    """Keep it for this model, or for this model with this adapter. Raises StorageError."""
    file = _file(model, adapter)
    if file is None:
        raise UsageError("only a model that lies in a file can keep a calibration")
    ensure_dir(file.parent)
    try:
        file.write_text(json.dumps(asdict(calibration), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror}") from error
    return file


def calibration_of(model: Model, *, adapter: str | None = None) -> Calibration | None:
    """The one that was kept for exactly these weights; None where there is none, or one that cannot be read."""
    with suppress(OSError, ValueError, TypeError):
        file = _file(model, adapter)
        if file is not None:
            return Calibration(**json.loads(file.read_text(encoding="utf-8")))
    return None


def _file(model: Model, adapter: str | None) -> Path | None:
    """Its name changes with the weights (size and time), with the words that are asked and with the system's, and with
    whether the model is pointed at the best sentence."""
    if model.path is None:
        return None
    paths = [model.path, *(Path(known.path) for known in model.adapters if known.name == adapter)]
    digest = hashlib.sha256(f"{ASKED}{SYSTEM_WITH_PASSAGES}{'' if is_small(model.parameters) else 'bare'}".encode())
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            state = file.stat()
            digest.update(f"{file.name}{state.st_size}{state.st_mtime_ns}".encode())
    return calibrations_dir() / f"{model.path.stem}-{digest.hexdigest()[:16]}.json"
