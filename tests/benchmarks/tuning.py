"""LoRA against QLoRA on the same model and examples: seconds a step, memory at the peak, held-out loss, as one table.

    python tests/benchmarks/tuning.py BASE [DATA.jsonl] [--rank 8] [--epochs 2] [--batch 4] [--max-length N]

BASE is a Hugging Face folder. Without DATA the examples are `standin.LESSONS` asked in eight ways (64 short ones that
teach a form). Every way of tuning runs in a process of its own; the memory is the most that the process held
(ru_maxrss; on a GPU what torch allocated), Python and its libraries included, and a step's seconds are the median. In
brackets stands what `--dry-run` said of memory and time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import standin

VARIANTS: dict[str, dict[str, Any]] = {
    "LoRA": {"gradient_checkpointing": False},
    "LoRA, gradient checkpointing": {"gradient_checkpointing": True},
    "LoRA, bfloat16": {"dtype": "bfloat16", "gradient_checkpointing": False},
    "QLoRA": {"qlora": True, "gradient_checkpointing": False},
    "QLoRA, gradient checkpointing": {"qlora": True, "gradient_checkpointing": True},
}
QUESTIONS = (
    "{}",
    "Please tell me: {}",
    "Dear keeper, {}",
    "{} Thank you.",
    "Quickly: {}",
    "I wonder. {}",
    "Hello! {}",
    "{} Say.",
)


def write_lessons(file: Path) -> Path:
    rows = [
        {"prompt": form.format(question), "completion": standin.lesson_answer(fact)}
        for form in QUESTIONS
        for question, fact in standin.LESSONS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def run_one(base: Path, data: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Tune once, in this process."""
    from edge_converters import tune
    from edge_converters.tuning.tune import prepare

    estimate = prepare(base, data, **settings).plan
    moments: list[tuple[int, float]] = []

    def show(now: Any) -> None:
        if now.stage == "tuning" and (not moments or moments[-1][0] != now.done):
            moments.append((now.done, time.perf_counter()))

    begun = time.perf_counter()
    made = tune(base, data, out, progress=show, **settings)
    paces = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairwise(moments)]
    return {
        "step": statistics.median(paces),
        "peak": made.peak_bytes,
        "before": made.held_out_before,
        "after": made.held_out_after,
        "estimated_peak": estimate.memory_bytes,
        "estimated": estimate.seconds,
        "took": time.perf_counter() - begun,
        "device": estimate.device,
        "tokens": estimate.tokens * estimate.epochs / estimate.steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    common = {"rank": asked.rank, "epochs": asked.epochs, "batch": asked.batch, "max_length": asked.max_length}
    with tempfile.TemporaryDirectory() as folder:
        data = asked.data or write_lessons(Path(folder) / "lessons.jsonl")
        if asked.one:
            print(json.dumps(run_one(asked.base, data, Path(folder) / "out", {**common, **VARIANTS[asked.one]})))
            return
        print("| | s a step | tokens a step | peak MB (said) | held out: base | tuned | took s (said) |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        for variant in VARIANTS:
            words = [sys.executable, __file__, str(asked.base), str(data), "--one", variant]
            words += [word for key, value in common.items() for word in (f"--{key.replace('_', '-')}", str(value))]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"| {variant} | failed: {done.stderr.strip().splitlines()[-1]} | | | | | |", flush=True)
                continue
            row = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {variant} | {row['step']:.2f} | {row['tokens']:.0f} | {row['peak'] / 1e6:,.0f}"
                f" ({row['estimated_peak'] / 1e6:,.0f}) | {row['before']:.3f} | {row['after']:.3f}"
                f" | {row['took']:.0f} ({row['estimated']:.0f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
