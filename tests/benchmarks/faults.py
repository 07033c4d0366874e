"""Every fault that tests/index/test_faults.py takes a few of: what was lost, what crashed, what answered wrongly.

python tests/benchmarks/faults.py                       # all kinds, all points: some minutes
python tests/benchmarks/faults.py kill power --stride 5
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from faults.harness import KINDS, Job, Outcome, add_up, build, run

HEADS = ("kind", "faults", "documents lost", "crashes", "wrong answers", "told", "repaired", "seconds")


def row(name: str, outcome: Outcome, seconds: float) -> str:
    numbers = (outcome.faults, outcome.lost, outcome.crashes, outcome.wrong, outcome.reported, outcome.repaired)
    return " | ".join([f"{name:28}", *(f"{number:>8,}" for number in numbers), f"{seconds:>6.0f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; all if none is given")
    parser.add_argument("--stride", type=int, default=1, help="take every n-th fault")
    parser.add_argument("--shards", type=int, default=2, help="processes side by side")
    parser.add_argument("--without", default="", help="guards to take away, to see what they guard: hash,sync,fsync …")
    options = parser.parse_args()
    guards = tuple(filter(None, options.without.split(",")))
    outcomes: list[Outcome] = []
    print(" | ".join(HEADS))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        library = build(Path(name))
        for kind in options.kinds or KINDS:
            since = time.monotonic()
            outcome = run(Job(kind, options.stride, guards), library, Path(name), shards=options.shards)
            outcomes.append(outcome)
            print(row(kind, outcome, time.monotonic() - since), flush=True)
            for example in outcome.examples:
                print("   ", example)
    total = add_up(outcomes)
    print(row("all", total, time.monotonic() - begin))
    if total.exportable:
        print(f"out of the damaged stores {total.exported:,} of {total.exportable:,} documents came whole")
    print("hit:", ", ".join(f"{name} {count:,}" for name, count in sorted(total.files.items())))
    raise SystemExit(bool(total.bad))


if __name__ == "__main__":
    main()
