"""How well a model tells questions that the passages answer from those that only look so; the curve, and what it costs.

    python tests/benchmarks/judgement.py FOLDER MODEL [--limit 100] [--passages 1] [--seed 7]

FOLDER as for retrieval.py, all documents in one index. The model is calibrated on edge's own 64 questions first, as
`edge models calibrate` does, then judges `--limit` answerable questions of FOLDER and as many that were written to look
answerable (no `answers`), drawn at random. Prints AUROCs, by the best passage's score beside the model's judgement, the
shares that are refused at each certainty, and the seconds that reading the prompt and the judgement after it take.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from question_set import read_questions

import edge
from edge.rag.answerability import auroc, calibrate, log_odds
from edge.rag.prompts import SYSTEM_WITH_PASSAGES, is_small, turn
from edge_index import Index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--passages", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    questions = read_questions(options.folder)
    chance = random.Random(options.seed)
    drawn = [
        question
        for kind in (True, False)
        for question in chance.sample([q for q in questions if bool(q["answers"]) is kind], options.limit)
    ]
    chance.shuffle(drawn)
    rows: list[tuple[float, float, bool]] = []
    reading, judging = [], []
    with (
        edge.load(options.model) as model,
        tempfile.TemporaryDirectory() as temporary,
        Index.open(temporary) as index,
    ):
        index.add([options.folder / "docs"])
        began = perf_counter()
        calibration = calibrate(model)
        print(f"{model.name}: {calibration}, {perf_counter() - began:.0f} s", flush=True)
        for question in drawn:
            passages = index.search(question["question"])
            read = passages[: options.passages]
            evidence = index.evidence(question["question"], passages)
            text = turn(question["question"], read, evidence, small=is_small(model.parameters))
            prompt = [edge.Message("system", SYSTEM_WITH_PASSAGES), edge.Message("user", text)]
            began = perf_counter()
            model.generate(prompt, sampling=edge.Sampling(max_tokens=1))
            middle = perf_counter()
            odds = log_odds(model, prompt)
            reading.append(middle - began)
            judging.append(perf_counter() - middle)
            rows.append((max((p.score for p in passages), default=0.0), odds, bool(question["answers"])))
    print(
        "AUROC by the best passage's score "
        f"{auroc([(score, answerable) for score, _, answerable in rows]):.3f}, by the model ",
        end="",
    )
    print(f"{auroc([(odds, answerable) for _, odds, answerable in rows]):.3f} ({options.limit} questions of each kind)")
    for certainty in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        refused = {
            kind: statistics.mean(
                calibration.probability(odds) < certainty for _, odds, answerable in rows if answerable is kind
            )
            for kind in (True, False)
        }
        print(f"certainty {certainty}: wrongly refused {refused[True]:.3f}, rightly refused {refused[False]:.3f}")
    seconds = statistics.median(reading), statistics.median(judging)
    print(f"seconds, median: reading {seconds[0]:.2f}, judging {seconds[1]:.2f}")


if __name__ == "__main__":
    main()
