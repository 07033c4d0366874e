"""How good the model's own words are: SQuAD's token F1 on documents with known answers, and what they cost.

    python tests/benchmarks/answers.py FOLDER MODEL [--passages 1,2] [--limit 40]

FOLDER as for retrieval.py; every n-th answerable question is taken. F1 is generous to nobody: a whole sentence
around a short answer loses precision, so recall and "holds the answer" stand beside it.
"""

from __future__ import annotations

import argparse
import collections
import re
import statistics
import string
import tempfile
from pathlib import Path

from question_set import read_questions

import edge
from edge_index import Index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--passages", default="1,2", help="how many passages the model reads; several with commas")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--show", action="store_true", help="print every answer")
    options = parser.parse_args()
    questions = read_questions(options.folder, answered=True)
    questions = questions[:: max(1, len(questions) // options.limit)][: options.limit]
    with tempfile.TemporaryDirectory() as temporary, edge.load(options.model) as model, Index.open(temporary) as index:
        index.add([options.folder / "docs"])
        for count in map(int, options.passages.split(",")):
            rows = []
            for question in questions:
                chat = edge.Chat(model, knowledge=index, rag=edge.RagOptions(prompt_passages=count))
                answer = chat.ask(question["question"], sampling=edge.Sampling(max_tokens=64))
                golds = [gold["text"] for gold in question["answers"]]
                supported = len(answer.citations) / max(1, len(answer.citations) + len(answer.unsupported))
                holds = any(" ".join(words(gold)) in " ".join(words(answer.text)) for gold in golds)
                rows.append((*max(overlap(answer.text, gold) for gold in golds), holds, supported, answer.usage))
                if options.show:
                    print(f"{question['question']} [{golds[0]}]\n    {answer.text!r}")
            f1, recall, containing, supported, usages = zip(*rows, strict=True)
            print(
                f"{count} passages, {len(rows)} questions: F1 {100 * statistics.mean(f1):.1f}  recall "
                f"{100 * statistics.mean(recall):.1f}  holds the answer {100 * statistics.mean(containing):.1f} %  "
                f"supported sentences {100 * statistics.mean(supported):.1f} %  first token "
                f"{statistics.median(u.prompt_seconds for u in usages):.2f} s  tokens "
                f"{statistics.median(u.prompt_tokens for u in usages):.0f}"
            )


def words(text: str) -> list[str]:
    """SQuAD's normalisation: lower case, no punctuation, no articles."""
    plain = "".join(" " if c in string.punctuation else c for c in text.lower())
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def overlap(answer: str, gold: str) -> tuple[float, float]:
    """F1 and recall of the gold answer's words."""
    said, wanted = collections.Counter(words(answer)), collections.Counter(words(gold))
    common = sum((said & wanted).values())
    if not common:
        return 0.0, 0.0
    precision, recall = common / sum(said.values()), common / sum(wanted.values())
    return 2 * precision * recall / (precision + recall), recall


if __name__ == "__main__":
    main()
