"""Do documents help? The same questions with and without them, and whether the difference is more than chance.

    python examples/compare.py

`edge compare` does the same with files, adapters and an HTML report.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import edge
from edge.evaluation.run import Question, compare
from edge_index import Index

MANUALS = Path(__file__).parent / "manuals"
QUESTIONS = [
    Question("How often is the pump due for maintenance?", ("every ninety days", "ninety days")),
    Question("What does the red lamp mean?", ("the boiler is out of water", "out of water")),
    Question("How long until the pressure stands at six bar?", ("twenty minutes",)),
    Question("Who changes the seal?", ("the night engineer",)),
    Question("Who won the cup in 1966?", ()),  # the documents do not say
]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index, edge.load("smollm2") as model:
        index.add([MANUALS])
        done = compare(model, QUESTIONS, knowledge=index, sampling=edge.Sampling(max_tokens=40), skills=False)
        for sentence in done.verdict:
            print(sentence)
