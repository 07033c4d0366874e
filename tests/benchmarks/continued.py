"""The first word of a chat that goes on after a restart, against the same chat that never ended.

    python tests/benchmarks/continued.py FOLDER MODEL.gguf [--turns 6] [--rounds 5]

FOLDER as for retrieval.py. A chat of so many questions about its documents is kept as `edge chat` keeps it when it is
left. Then the next question is asked three times, of the model file loaded anew: of the chat that never ended (only the
new tokens are read), of one that goes on after a restart (they are read behind the kept KV cache), and of one that goes
on without anything kept (all of it is read again). Prints medians of the seconds to the first word, without the loading
of the model, and whether the three say the same.
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
from edge.types import Message
from edge_index import Index

SAMPLING = edge.Sampling(max_tokens=40)
CONTEXT = 4096


def first_word(chat: edge.Chat, question: str) -> tuple[float, str, edge.Usage]:
    began, first, text, usage = perf_counter(), 0.0, "", edge.Usage()
    for delta in chat.stream(question, sampling=SAMPLING):
        if delta.text and not first:
            first = perf_counter() - began
        text += delta.text
        usage = delta.usage or usage
    return first, text, usage


def went_on(
    model: Path, index: Index, history: list[Message], question: str, *, budget: float
) -> tuple[float, str, edge.Usage]:
    with edge.load(model, context=CONTEXT, kv_budget=budget) as loaded:
        chat = edge.Chat(loaded, knowledge=index, rag=edge.RagOptions(min_answerable=0.0))
        chat.restore(history)
        loaded.count("the first use of a vocabulary takes a moment")
        return first_word(chat, question)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    questions = read_questions(options.folder, answered=True)
    random.Random(11).shuffle(questions)
    asked = iter(question["question"] for question in questions)
    times: dict[str, list[float]] = {"never ended": [], "after a restart": [], "nothing kept": []}
    same = 0
    with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
        index.add([options.folder / "docs"])
        for _ in range(options.rounds):
            with edge.load(options.model, context=CONTEXT, kv_budget=20) as model:
                chat = edge.Chat(model, knowledge=index, rag=edge.RagOptions(min_answerable=0.0))
                for _ in range(options.turns):
                    chat.ask(next(asked), sampling=SAMPLING)
                assert model.save_kv_cache(), "the conversation could not be kept"
                history, question = list(chat.history), next(asked)
                live = first_word(chat, question)
            restarted = went_on(options.model, index, history, question, budget=20)
            afresh = went_on(options.model, index, history, question, budget=0)
            for name, (first, _, _) in zip(times, (live, restarted, afresh), strict=True):
                times[name].append(first)
            same += live[1] == restarted[1]
            prompt, cached = restarted[2].prompt_tokens, restarted[2].restored_tokens
            print(f"{prompt:,} tokens, {cached:,} of them kept: {live[0]:.2f} s live, {restarted[0]:.2f} s restarted")
    for name, found in times.items():
        print(f"{name:16} {statistics.median(found):6.2f} s to the first word")
    more = [after - before for after, before in zip(times["after a restart"], times["never ended"], strict=True)]
    print(f"a restart adds a median of {statistics.median(more):.2f} s, at most {max(more):.2f} s")
    print(f"the restarted chat says what the one that never ended says: {same} of {options.rounds}")


if __name__ == "__main__":
    main()
