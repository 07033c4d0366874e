"""Prompt look-up beside plain decoding, in turn, on questions with passages and on free chat; the texts must be equal.

    python tests/benchmarks/lookup.py FOLDER MODEL [--limit 20] [--passages 4] [--reply 64] [--kv-type f16]

FOLDER as for retrieval.py: docs/ and questions.jsonl; every n-th answerable question is taken. Each prompt is answered
by two engines with the same file and settings, one of them without look-up; which goes first alternates. Seconds are
those of decoding alone. A ratio is seconds without look-up over seconds with it, over all replies, and its median by
reply.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
from edge.types import Delta
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
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [question for question in map(json.loads, lines) if question["answers"]]
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
    name: str,
    models: tuple[edge.Model, edge.Model],
    guesses: Guesses,
    asked: list[tuple[str, tuple[str, ...]]],
    reply: int,
) -> None:
    guesses.made = guesses.true = 0
    spent, tokens, ratios = [0.0, 0.0], 0, []
    for i, (prompt, stop) in enumerate(asked):
        replies: dict[int, edge.Reply] = {}
        for which in (0, 1) if i % 2 else (1, 0):
            sampling = edge.Sampling(max_tokens=reply, stop=stop)
            replies[which] = models[which].generate(prompt, sampling=sampling)
        assert replies[0].text == replies[1].text, f"look-up changed the reply to {prompt!r}"
        seconds = [replies[which].usage.completion_seconds for which in (0, 1)]
        spent = [spent[0] + seconds[0], spent[1] + seconds[1]]
        tokens += replies[0].usage.completion_tokens
        ratios.append(seconds[1] / seconds[0])
    print(
        f"{name}: {len(asked)} equal replies, {tokens} tokens, {tokens / spent[0]:.1f} tokens/s with look-up, "
        f"{tokens / spent[1]:.1f} without, ratio {spent[1] / spent[0]:.2f} (median by reply "
        f"{statistics.median(ratios):.2f}); {guesses.true} of {guesses.made} guesses true, "
        f"{100 * guesses.true / tokens:.0f} % of the tokens"
    )


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
    settings: Any = {"threads": options.threads, "kv_type": options.kv_type}
    with edge.load(options.model, **settings) as guessing, edge.load(options.model, lookup=False, **settings) as plain:
        guesses = counted(guessing)
        free = [(guessing.render([edge.Message("user", text)]), ()) for text in FREE]
        asked = list(prompts(guessing, options.folder, options.limit, options.passages))
        print(f"{guessing.name}, {guessing.engine.device}, KV {options.kv_type}, {options.passages} passages")
        for model in (guessing, plain):  # warms up; the first batches of each size are checked against single steps
            model.generate(asked[0][0], sampling=edge.Sampling(max_tokens=options.reply))
        compare("questions", (guessing, plain), guesses, asked, options.reply)
        compare("free chat", (guessing, plain), guesses, free, 2 * options.reply)


if __name__ == "__main__":
    main()
