"""Three tasks out of real documents, to see which way serves which: a form, facts, and facts in a form.

    python tests/benchmarks/tasks.py FOLDER OUT [--train 240] [--test 80]

FOLDER as for retrieval.py. Writes into OUT, for the commands that follow:

  form/train.jsonl, form/test.jsonl      a sentence into an index card with a grade, figures and names: a style that no
                                         model knows, and that stands in no document
  facts/docs, facts/train.jsonl, facts/test.jsonl   questions about three documents; others about the same three to tune
                                         on, without passages
  both/docs, both/train.jsonl, both/test.jsonl      the same test questions, to be answered as a finding with its basis;
                                         to tune on: such answers about the five other documents, with passages, for
                                         `edge data ground`

    edge tune BASE OUT/form/train.jsonl -o OUT/form-lora
    edge compare OUT/form/test.jsonl -m BASE.gguf -a OUT/form-lora --examples OUT/form/train.jsonl
    edge tune BASE OUT/facts/train.jsonl -o OUT/facts-lora
    edge compare OUT/facts/test.jsonl -m BASE.gguf -a OUT/facts-lora --examples OUT/facts/train.jsonl \
--docs OUT/facts/docs
    edge data ground OUT/both/train.jsonl --docs OUT/both/docs -o OUT/both/grounded.jsonl
    edge tune BASE OUT/both/grounded.jsonl -o OUT/both-lora
    edge compare OUT/both/test.jsonl -m BASE.gguf -a OUT/both-lora --examples OUT/both/train.jsonl --docs OUT/facts/docs
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from question_set import read_questions

from edge.text.sentences import sentence_spans

SEED = 7
TESTED = ("Normans.md", "Harvard_University.md", "1973_oil_crisis.md")
CARD = r"CARD [ABC]\nFIGURES: [^\n]+\nNAMES: [^\n]+"
FINDING = r"FINDING: [^\n]+\nBASIS: [^\n]+"

_FIGURE = re.compile(r"(?<![\w.,])\d[\d,.]*\d|(?<![\w.,])\d(?!\w)")
_NAME = re.compile(r"\b[A-Z][\w’'-]+(?: (?:of |the |de |and )?[A-Z][\w’'-]+)*")


def card(sentence: str) -> str:
    """A: two figures or more, B: one, C: none; then the figures and the names in their order."""
    figures = list(dict.fromkeys(_FIGURE.findall(sentence)))
    names = list(dict.fromkeys(found[0] for found in _NAME.finditer(sentence) if found.start() > 0))
    grade = "C" if not figures else "B" if len(figures) == 1 else "A"
    return f"CARD {grade}\nFIGURES: {'; '.join(figures) or 'nil'}\nNAMES: {'; '.join(names) or 'nil'}"


def cards(docs: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in docs:
        text = path.read_text(encoding="utf-8")
        for start, end in sentence_spans(text):
            sentence = text[start:end]
            if 10 <= len(sentence.split()) <= 28 and "\n" not in sentence and not sentence.startswith("#"):
                made = card(sentence)
                turns = [("user", f"Card for: {sentence}"), ("assistant", made)]
                yield {
                    "messages": [{"role": role, "content": content} for role, content in turns],
                    "answers": [made.splitlines()[0]],
                    "form": CARD,
                }


def finding(question: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The question with its answer and the sentence around it as the reply; None where that sentence is long."""
    answer = question["answers"][0]
    around = next(
        (span for span in sentence_spans(text) if span[0] <= answer["start"] and answer["end"] <= span[1]), None
    )
    if around is None:
        return None
    basis = " ".join(text[around[0] : around[1]].split())
    if len(basis.split()) > 35:
        return None
    return {**question, "reference": f"FINDING: {answer['text']}\nBASIS: {basis}", "form": FINDING}


def bare(question: dict[str, Any]) -> dict[str, Any]:
    """As a chat of a question and its short answer."""
    turns = [("user", question["question"]), ("assistant", question["answers"][0]["text"])]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def write(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=240)
    parser.add_argument("--test", type=int, default=80)
    asked = parser.parse_args()
    chance = random.Random(SEED)
    docs = sorted((asked.folder / "docs").iterdir())
    tested = [path for path in docs if path.name in TESTED]
    texts = {path.name: path.read_text(encoding="utf-8") for path in docs}
    known = read_questions(asked.folder, answered=True)
    chance.shuffle(known)

    for name, part, count in (
        ("train", [path for path in docs if path not in tested], asked.train),
        ("test", tested, asked.test),
    ):
        found = list(cards(part))
        chance.shuffle(found)
        write(asked.out / "form" / f"{name}.jsonl", found[:count])

    findings = [row for question in known if (row := finding(question, texts[question["document"]]))]
    inside = [row for row in findings if row["document"] in TESTED]
    outside = [row for row in findings if row["document"] not in TESTED]
    facts = [{key: row[key] for key in ("question", "answers", "document", "paragraph")} for row in inside]
    test = {row["question"] for row in inside[: asked.test]}
    write(asked.out / "facts" / "test.jsonl", facts[: asked.test])
    others = [bare(row) for row in known if row["document"] in TESTED and row["question"] not in test]
    write(asked.out / "facts" / "train.jsonl", others[: asked.train])
    write(asked.out / "both" / "test.jsonl", inside[: asked.test])
    write(asked.out / "both" / "train.jsonl", outside[: asked.train])
    for task, part in (("facts", tested), ("both", docs)):
        (asked.out / task / "docs").mkdir(parents=True, exist_ok=True)
        for path in part:
            shutil.copyfile(path, asked.out / task / "docs" / path.name)
    for file in sorted(asked.out.glob("*/*.jsonl")):
        print(f"{file}: {len(file.read_text(encoding='utf-8').splitlines())}")


if __name__ == "__main__":
    main()
