"""Two and three processes that write chats and an index at the same time, killed now and then; tests/test_stress.py
does it for five seconds.

python tests/benchmarks/stress.py --seconds 600
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from stress import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder) / "stress", options.seconds, seed=options.seed)
    print(result)
    for line in [*result.lost, *result.wrong]:
        print("  ", line)
    sys.exit(bool(result.lost or result.wrong))


if __name__ == "__main__":
    main()
