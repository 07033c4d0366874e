"""How often search and evidence find what a question asks for, on documents with known answers.

    python tests/benchmarks/retrieval.py FOLDER [--index DIR] [--limit N]

FOLDER holds docs/ and questions.jsonl: one JSON object a line with `question`, `document` (a name in docs/) and
`answers`, each with `start` and `end` in the file's text; no answers means that the documents do not tell.
Prints hit rates of the passages (first, first five, mean reciprocal rank) and of the evidence sentences, the
share of spans that stand literally in the text, and the seconds from question to evidence.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from question_set import read_questions

from edge.types import Evidence, Passage
from edge_index import Index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--index", type=Path, help="where to keep the index (a temporary folder unless given)")
    parser.add_argument("--limit", type=int, help="only the first N questions")
    options = parser.parse_args()
    questions = read_questions(options.folder)
    with tempfile.TemporaryDirectory() as temporary:
        index = Index.open(options.index or temporary)
        started = time.perf_counter()
        report = index.add([options.folder / "docs"])
        print(f"added {len(report.added)} documents, {len(index)} passages in {time.perf_counter() - started:.1f} s")
        measure(index, questions[: options.limit])
        index.close()


def measure(index: Index, questions: Sequence[dict]) -> None:
    texts = {document.path: index.text(document.path) for document in index.documents()}
    ranks: list[int | None] = []
    first = within = literal = spans = returned = 0
    seconds = []
    for question in questions:
        started = time.perf_counter()
        passages = index.search(question["question"], 5)
        evidence = index.evidence(question["question"], passages)
        seconds.append(time.perf_counter() - started)
        for span in [*passages, *evidence]:
            spans += 1
            text = span.text if isinstance(span, Passage) else span.quote
            literal += texts[span.document][span.start : span.end] == text
        if not question["answers"]:
            returned += bool(passages)
            continue
        ranks.append(next((i for i, passage in enumerate(passages) if holds(passage, question)), None))
        hits = [holds(sentence, question) for sentence in evidence]
        first += hits[:1] == [True]
        within += any(hits)
    n = len(ranks)
    print(f"{n} answerable questions, {len(questions) - n} that the documents do not answer")
    print(
        f"passages: first {sum(r == 0 for r in ranks) / n:.3f}  in five {sum(r is not None for r in ranks) / n:.3f}"
        f"  MRR {sum(1 / (r + 1) for r in ranks if r is not None) / n:.3f}"
    )
    print(f"evidence: first sentence {first / n:.3f}  one of up to three {within / n:.3f}")
    print(f"spans that stand in the text: {literal} of {spans}")
    if n < len(questions):
        print(f"unanswerable, yet passages above the floor: {returned / (len(questions) - n):.3f}")
    print(
        f"question to evidence: median {statistics.median(seconds) * 1000:.1f} ms, "
        f"p95 {statistics.quantiles(seconds, n=20)[-1] * 1000:.1f} ms"
    )


def holds(span: Passage | Evidence, question: dict) -> bool:
    """Whether a span holds an answer or, where the answer is longer than 80 characters, lies in it by half."""
    return Path(span.document).name == question["document"] and any(
        (span.start <= answer["start"] and answer["end"] <= span.end)
        or (
            answer["end"] - answer["start"] >= 80
            and 2 * (min(span.end, answer["end"]) - max(span.start, answer["start"])) >= span.end - span.start
        )
        for answer in question["answers"]
    )


if __name__ == "__main__":
    main()
