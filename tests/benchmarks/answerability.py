"""How well search tells questions that the documents answer from those that they do not; the curve, and the fit.

    python tests/benchmarks/answerability.py FOLDER [--groups WORD] [--every N]

FOLDER as for retrieval.py. Every document (with `--groups -`: every set of documents whose names agree up to the
first "-") gets an index of its own and is asked all questions: its own, those that were written to look answerable
(no `answers`), and every N-th of the other documents', which are off topic. Prints for each threshold on the
probability the share of wrong refusals and of refused off-topic questions, the worst document of each, AUROCs, and
the logistic regression fitted here and, document by document, on all the others.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from question_set import read_questions

from edge_index import Index
from edge_index.retrieval.answerability import OFFSET, SLOPE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", default="", help="documents belong together up to this word in their names")
    parser.add_argument("--every", type=int, default=5, help="how many off-topic questions: every N-th")
    options = parser.parse_args()
    questions = read_questions(options.folder)
    groups: dict[str, list[Path]] = {}
    for path in sorted((options.folder / "docs").iterdir()):
        groups.setdefault(path.name.partition(options.groups)[0] if options.groups else path.name, []).append(path)
    rows = []  # (group, own question?, answerable?, score)
    for group, paths in groups.items():
        names = {path.name for path in paths}
        with tempfile.TemporaryDirectory() as temporary, Index.open(temporary) as index:
            index.add(paths)
            for number, question in enumerate(questions):
                own = question["document"] in names
                if own or number % options.every == 0:
                    found = index.search(question["question"])
                    rows.append((group, own, bool(question["answers"]), max((p.score for p in found), default=0.0)))
        print(f"{group}: {len(paths)} documents, {sum(row[0] == group for row in rows)} questions", flush=True)
    report(rows)


def report(rows: list[tuple[str, bool, bool, float]]) -> None:
    group = np.array([row[0] for row in rows])
    own, answerable = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    score = np.array([row[3] for row in rows])
    good, looks, off = own & answerable, own & ~answerable, ~own
    print(f"{good.sum()} answerable, {looks.sum()} only look so, {off.sum()} off topic")
    print(f"AUROC against off topic {auroc(score[good], score[off]):.4f}", end="")
    print(f", against those that look answerable {auroc(score[good], score[looks]):.3f}" if looks.any() else "")
    for certainty in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        least = (np.log(certainty / (1 - certainty)) - OFFSET) / SLOPE
        refused = score < least
        wrong, right = ([refused[kind & (group == g)].mean() for g in np.unique(group)] for kind in (good, off))
        print(
            f"certainty {certainty:.1f} (score {least:.3f}): wrong refusals {refused[good].mean():.3f} (worst "
            f"{max(wrong):.3f})  off topic refused {refused[off].mean():.3f} (worst {min(right):.3f})"
            + (f"  of those that look answerable {refused[looks].mean():.3f}" if looks.any() else "")
        )
    slope, offset = fit(score, good, off)
    print(f"fitted here: slope {slope:.1f}, offset {offset:.1f}; in use: {SLOPE}, {OFFSET}")
    wrong, right = np.zeros(0, bool), np.zeros(0, bool)
    for left_out in np.unique(group):
        others = group != left_out
        slope, offset = fit(score, good & others, off & others)
        refused = slope * score + offset < 0
        wrong = np.append(wrong, refused[good & ~others])
        right = np.append(right, refused[off & ~others])
    print(f"fitted on the others, each left out once: wrong {wrong.mean():.3f}, off topic refused {right.mean():.3f}")


def fit(score: NDArray[np.float64], good: NDArray[np.bool_], bad: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of a logistic regression, both classes of equal weight, by Newton's method."""
    both = good | bad
    x = np.stack([score[both], np.ones(both.sum())], axis=1)
    y = good[both]
    weight = np.where(y, 0.5 / good.sum(), 0.5 / bad.sum())
    w = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        slope = x.T @ (weight * (p - y)) + 1e-6 * w
        w -= np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2), slope)
    return float(w[0]), float(w[1])


def auroc(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """How often one of `high` is above one of `low`; a tie counts half."""
    low = np.sort(low)
    above = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(above.mean() / 2 / len(low))


if __name__ == "__main__":
    main()
