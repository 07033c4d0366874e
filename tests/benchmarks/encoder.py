"""Our encoder against sentence-transformers on torch: passages per second in alternating rounds, and cosines.

    python tests/benchmarks/encoder.py --model MODELS/all-MiniLM-L6-v2 --docs FOLDER [--rounds 5] [--threads 2]

FOLDER holds text files (.md, .txt, .rst); they are cut into overlapping passages of 150 words.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edge.system.offline


def read_passages(folder: Path, words: int, most: int) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".md", ".txt", ".rst"))
    passages = []
    for path in files:
        found = path.read_text(encoding="utf-8", errors="replace").split()
        # Passages overlap, so that a few documents give many.
        passages += [" ".join(found[i : i + words]) for i in range(0, len(found) - words, words // 5)]
    return passages[:most]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a sentence-transformers directory")
    parser.add_argument("--docs", type=Path, required=True, help="a folder with text files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passages", type=int, default=64, help="of each timed round")
    parser.add_argument("--compared", type=int, default=1000, help="passages whose vectors are compared")
    arguments = parser.parse_args()
    passages = read_passages(arguments.docs, 150, arguments.compared)
    if len(passages) < arguments.passages:
        sys.exit(f"{arguments.docs} gives only {len(passages)} passages; name a folder with more text")

    edge.system.offline.silence()
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from edge_index.encoders.encoder import Encoder

    torch.set_num_threads(arguments.threads)
    oracle = SentenceTransformer(str(arguments.model), device="cpu")
    ours = {v: Encoder.open(arguments.model, variant=v, threads=arguments.threads) for v in ("fp32", "int8")}
    encoders: dict[str, Callable[[list[str]], Any]] = {
        "torch": lambda texts: oracle.encode(texts, normalize_embeddings=True, show_progress_bar=False),
        "fp32": ours["fp32"].encode,
        "int8": ours["int8"].encode,
    }
    timed = passages[:: max(1, len(passages) // arguments.passages)][: arguments.passages]
    speeds: dict[str, list[float]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode(timed[:8])
    for _ in range(arguments.rounds):
        for name, encode in encoders.items():
            start = time.perf_counter()
            encode(timed)
            speeds[name].append(len(timed) / (time.perf_counter() - start))
    expected = encoders["torch"](passages)
    report: dict[str, object] = {"passages": len(passages), "threads": arguments.threads}
    for name, values in speeds.items():
        ratios = [mine / torchs for mine, torchs in zip(values, speeds["torch"], strict=True)]
        cosines = np.sum(encoders[name](passages) * expected, axis=1)
        report[name] = {
            "passages_per_second": round(statistics.median(values), 1),
            "ratio_to_torch": round(statistics.median(ratios), 2),
            "ratio_least": round(min(ratios), 2),
            "cosine_least": round(float(cosines.min()), 6),
            "cosine_mean": round(float(cosines.mean()), 6),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
