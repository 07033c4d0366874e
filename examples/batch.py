"""A CSV of questions into a CSV of answers, each with its source and whether the documents answer it at all.

    python examples/batch.py questions.csv manuals/ answers.csv

The first column of questions.csv holds the questions, below a heading.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import edge
from edge_index import Index


def answer_all(questions: Path, documents: Path, out: Path) -> int:
    """Write one row a question to `out` and return how many there are."""
    with questions.open(newline="", encoding="utf-8") as file:
        asked = [row[0] for row in csv.reader(file) if row][1:]
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.open(folder) as index,
        edge.load("smollm2") as model,
        out.open("w", newline="", encoding="utf-8") as file,
    ):
        index.add([documents])
        table = csv.writer(file)
        table.writerow(["question", "answer", "document", "quote"])
        for question in asked:
            # A chat of its own for each: no answer depends on the questions before it.
            answer = edge.Chat(model, knowledge=index, sampling=edge.Sampling(max_tokens=60)).ask(question)
            best = answer.evidence[0] if answer.passages else None
            source = (Path(best.document).name, best.quote) if best else ("", "")
            table.writerow([question, answer.text.strip(), *source])
            file.flush()  # what was answered stands in the file, whatever happens next
    return len(asked)


if __name__ == "__main__":
    print(f"{answer_all(*map(Path, sys.argv[1:4]))} questions answered")
