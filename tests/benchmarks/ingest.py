"""Documents into a searchable index, against sentence-transformers + hnswlib written the plain way, in turn.

    python tests/benchmarks/ingest.py FOLDER [--model MODELS/all-MiniLM-L6-v2] [--rounds 5] [--threads 2]

FOLDER holds text files (.md, .txt, .rst). The plain way: read every file, cut it (with edge's own cutter, so that both
encode the same passages), `SentenceTransformer.encode` over all of them, SQLite for the texts, `hnswlib.add_items`,
`save_index`. It keeps no vectors of sentences, no full text, no hashes, and survives no kill. Ours is `Index.add` as
people call it, with all of those. Models are loaded before the clock starts. A ratio is the plain way's seconds over
ours, of one round; which goes first alternates.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edge.system.offline
from edge.system.paths import STARTER_ENCODER, models_dir


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, help="a sentence-transformers directory (the starter encoder)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    files = sorted(path for path in options.folder.rglob("*") if path.suffix in (".md", ".txt", ".rst"))
    model = options.model or models_dir() / STARTER_ENCODER

    edge.system.offline.silence()
    import torch
    from sentence_transformers import SentenceTransformer

    from edge_index.encoders.encoder import Encoder

    torch.set_num_threads(options.threads)
    oracle = SentenceTransformer(str(model), device="cpu")
    with Encoder.open(model, threads=options.threads) as encoder:
        variants: dict[str, Callable[[Path], int]] = {
            "edge": lambda folder: with_edge(files, encoder, folder),
            "plain": lambda folder: plainly(files, oracle, encoder, folder, options.threads),
        }
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        passages: dict[str, int] = {}
        oracle.encode(["warm"] * 8)
        encoder.encode(["warm"] * 8)
        for number in range(options.rounds):
            for name, variant in list(variants.items())[:: -1 if number % 2 else 1]:
                with tempfile.TemporaryDirectory() as folder:
                    began = time.perf_counter()
                    passages[name] = variant(Path(folder))
                    seconds[name].append(time.perf_counter() - began)
    for name, spent in seconds.items():
        speed = passages[name] / statistics.median(spent)
        print(f"{name}: {passages[name]} passages in {statistics.median(spent):.1f} s, {speed:.0f} a second (median)")
    ratios = [plain / ours for plain, ours in zip(seconds["plain"], seconds["edge"], strict=True)]
    print(f"the plain way's seconds over edge's: median {statistics.median(ratios):.2f}, least {min(ratios):.2f}")


def with_edge(files: list[Path], encoder: Any, folder: Path) -> int:
    from edge_index import Index

    with Index.open(folder, encoder=encoder) as index:
        index.add(files)
        return len(index)


def plainly(files: list[Path], oracle: Any, encoder: Any, folder: Path, threads: int) -> int:
    import hnswlib

    from edge_index.ingest.embedding import chunk
    from edge_index.loaders import load

    texts: list[tuple[str, str]] = []
    for path in files:
        extracted = load(path, path.read_bytes())
        chunks, _ = chunk(extracted, encoder)
        texts += [(str(path), extracted.text[one.start : one.end]) for one in chunks]
    vectors = oracle.encode([text for _, text in texts], normalize_embeddings=True, show_progress_bar=False)
    database = sqlite3.connect(folder / "texts.sqlite")
    with database:
        database.execute("CREATE TABLE passages(id INTEGER PRIMARY KEY, path TEXT, text TEXT)")
        database.executemany("INSERT INTO passages(path, text) VALUES (?, ?)", texts)
    database.close()
    graph = hnswlib.Index(space="cosine", dim=vectors.shape[1])
    graph.init_index(max_elements=len(texts), ef_construction=200, M=16)
    graph.set_num_threads(threads)
    graph.add_items(vectors, list(range(len(texts))))
    graph.save_index(str(folder / "graph.bin"))
    return len(texts)


if __name__ == "__main__":
    main()
