"""Broken GGUF headers through the check, `edge models show` and `edge.load`.

python tests/benchmarks/fuzz_gguf.py 5000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from gguf_files import fuzzing as gguf_fuzzing
from gguf_files import seeds as gguf_seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=5000)
    parser.add_argument("--start", type=int, default=0, help="the number of the first file, which is also its seed")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = [gguf_seeds.make_seed(folder / f"{kind}.gguf", kind) for kind in ("phi3", "llama", "qwen2")]
        begin = time.monotonic()
        until = begin + options.seconds
        count = gguf_fuzzing.run(seeds, folder, options.count, start=options.start, until=until)
    done = count.refused + count.declined + count.ran + len(count.ours) + len(count.crashed) + len(count.hung)
    print(f"{done:,} files in {time.monotonic() - begin:.0f} s")
    print(f"refused before llama.cpp {count.refused:,} · declined by llama.cpp {count.declined:,} · ran {count.ran:,}")
    print(f"crashes of our own {len(count.ours)} · inside llama.cpp {len(count.crashed)} · hung {len(count.hung)}")
    for number, text in [*count.ours.items(), *count.crashed.items()]:
        print(f"  {number}: {text}")
    print("  hung:", *count.hung)


if __name__ == "__main__":
    main()
