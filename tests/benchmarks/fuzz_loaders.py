"""Mutants of real documents of every format, read as the index reads them: python tests/benchmarks/fuzz_loaders.py

Prints for each format how many were read, refused, stopped at a limit or killed their reader, the slowest and the peak
of memory. Exits with 1 where a position is wrong or a limit did not hold. A crash or a hang of this process is what
must not happen: a watchdog would end it with a traceback.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from documents.fuzzing import LIMITS, fuzz
from documents.seeds import SEEDS
from edge_index.loaders.isolation.parent import Reader

_HANG = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-format", type=int, default=10_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=600.0, help="the most for one format (600)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", action="append", choices=[*SEEDS], help="only this suffix; may be repeated")
    options = parser.parse_args()
    print("format   mutants     text  refused   limits  child died  slowest s  child MiB  wrong")
    wrong = total = died = 0
    with Reader(LIMITS) as reader:
        for suffix in options.format or SEEDS:
            reader.close()  # a fresh child, so that its peak is this format's
            faulthandler.dump_traceback_later(options.seconds + _HANG, exit=True)
            outcome = fuzz(suffix, reader, count=options.per_format, seconds=options.seconds, seed=options.seed)
            faulthandler.cancel_dump_traceback_later()
            total, died, wrong = total + outcome.total, died + outcome.crashed, wrong + len(outcome.wrong)
            limits = " ".join(f"{name} {count}" for name, count in outcome.limits.items())
            print(
                f"{suffix:8} {outcome.total:7} {outcome.text:8} {outcome.refused:8} {sum(outcome.limits.values()):8} "
                f"{outcome.crashed:11} {outcome.slowest:10.2f} {outcome.peak / 2**20:10.0f} {len(outcome.wrong):6}  "
                + limits,
                flush=True,
            )
            for problem in outcome.wrong[:3]:
                print(f"    {problem}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{total} mutants, {died} children died, 0 crashes and 0 hangs of this process, which took {peak:.0f} MiB")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
