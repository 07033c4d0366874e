"""Prompt look-up beside plain decoding, in turn, on questions with passages and on free chat; the texts must be equal.

    python tests/benchmarks/lookup.py FOLDER MODEL [--limit 20] [--passages 4] [--reply 64] [--kv-type f16]

FOLDER as for retrieval.py: docs/ and questions.jsonl; every n-th answerable question is taken. Each prompt is answered
by an engine that looks up, by the one that is loaded without (its KV cache is of llama.cpp's own types), and by one
with the KV types of the first that makes no guesses: its reply must be the first one's. The order alternates. A ratio
is seconds without look-up over seconds with it, over all replies, and its median by reply: of decoding alone, and of
prompt and reply together.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from question_set import read_questions

import edge
from edge.answer import Delta
from edge_index import Index

FREE = (
    "Tell me a short story about a dog and a river.",
    "Explain how a bicycle stays upright.",
    "Write a poem about the sea.",
    "What should I cook tonight with rice and eggs?",
    "Give me three tips to sleep better.",
    "Why is the sky blue?",
    "Describe a day in the life of a baker.",
    "How do I write a good letter of application?",
)


@dataclass
class Guesses:
    """What look-up tried, counted at the engine."""

    made: int = 0
    true: int = 0


def counted(model: edge.Model) -> Guesses:
    engine: Any = model.engine
    verify, guesses = engine._verify, Guesses()

    def counting(sampler: Any, tokens: list[int]) -> list[int]:
        chosen: list[int] = verify(sampler, tokens)
        guesses.made += len(tokens) - 1
        guesses.true += len(chosen) - 1
        return chosen

    engine._verify = counting
    return guesses


def prompts(model: edge.Model, folder: Path, limit: int, passages: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What edge.chat sends for answerable questions, and its stop strings."""
    questions = read_questions(folder, answered=True)
    sent: list[tuple[str, tuple[str, ...]]] = []

    class Listening(edge.Model):
        def stream(self, prompt: Any, *, sampling: Any = None, **_: Any) -> Iterator[Delta]:
            sent.append((model.render(prompt), sampling.stop))
            yield Delta(finish="stop", usage=edge.Usage())

    with tempfile.TemporaryDirectory() as temporary, Index.open(temporary) as index:
        index.add([folder / "docs"])
        for question in questions[:: max(1, len(questions) // limit)][:limit]:
            chat = edge.Chat(Listening(model.engine), knowledge=index, prompt_passages=passages)
            chat.ask(question["question"])
    yield from sent


def compare(
    name: str, models: dict[str, edge.Model], guesses: Guesses, asked: list[tuple[str, tuple[str, ...]]], reply: int
) -> None:
    guesses.made = guesses.true = 0
    tokens = 0
    decoding: list[tuple[float, float]] = []
    whole: list[tuple[float, float]] = []
    for i, (prompt, stop) in enumerate(asked):
        replies: dict[str, edge.Reply] = {}
        for which in list(models)[:: 1 if i % 2 else -1]:
            sampling = edge.Sampling(max_tokens=reply, stop=stop)
            replies[which] = models[which].generate(prompt, sampling=sampling)
        assert replies["guessing"].text == replies["same"].text, f"look-up changed the reply to {prompt!r}"
        tokens += replies["guessing"].usage.completion_tokens
        ours, plain = replies["guessing"].usage, replies["plain"].usage
        # Another KV type may have ended the reply elsewhere: seconds by token count.
        share = ours.completion_tokens / max(1, plain.completion_tokens)
        decoding.append((ours.completion_seconds, plain.completion_seconds * share))
        whole.append((decoding[-1][0] + ours.prompt_seconds, decoding[-1][1] + plain.prompt_seconds))
    print(
        f"{name}: {len(asked)} equal replies, {tokens} tokens; decoding {_ratio(decoding)}; prompt and reply "
        f"{_ratio(whole)}; {guesses.true} of {guesses.made} guesses true, {100 * guesses.true / tokens:.0f} % of the "
        "tokens",
        flush=True,
    )


def _ratio(seconds: list[tuple[float, float]]) -> str:
    ours, plain = (sum(column) for column in zip(*seconds, strict=True))
    return f"{plain / ours:.2f} (median by reply {statistics.median(b / a for a, b in seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--reply", type=int, default=64)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kv-type", choices=("f16", "q8_0", "q4_0"), default="f16")
    options = parser.parse_args()
    settings: Any = {"threads": options.threads, "kv_type": options.kv_type, "context": 2048}
    with (
        edge.load(options.model, lookup=True, **settings) as guessing,
        edge.load(options.model, lookup=True, **settings) as same,
        edge.load(options.model, lookup=False, **settings) as plain,
    ):
        guesses = counted(guessing)
        engine: Any = same.engine
        engine._lookup = False
        models = {"guessing": guessing, "same": same, "plain": plain}
        free = [(guessing.render([edge.Message("user", text)]), ()) for text in FREE]
        asked = list(prompts(guessing, options.folder, options.limit, options.passages))
        print(
            f"{guessing.name}, {guessing.engine.device}, KV {options.kv_type}, {options.passages} passages", flush=True
        )
        for model in models.values():  # warms up; the first batches of each size are checked against single steps
            model.generate(asked[0][0], sampling=edge.Sampling(max_tokens=options.reply))
        compare("questions", models, guesses, asked, options.reply)
        compare("free chat", models, guesses, free, 2 * options.reply)


if __name__ == "__main__":
    main()
