"""How a large index is built, opened, searched and added to.

    python tests/benchmarks/scale.py FOLDER [--passages N] [--index DIR] [--encodings FILE] [--plain]

FOLDER is read for text: every *.txt and *.md file below it. Its sentences and those of the docstrings of installed
packages are encoded with the starter encoder (kept in --encodings, if given), and these real encodings are multiplied
to N by small perturbations: each copy is turned by Gaussian noise of half a vector's length in all (cosine to its
original about 0.89). Random vectors would have no neighbours and say nothing. The questions are further copies that
are not in the index. All are written into a real index store with its own SQL, and the files beside it are made as
`Index.add` makes them. With --plain hnswlib is timed the way its README has it: all vectors in memory, one add_items,
one save_index.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.system.paths import STARTER_ENCODER, models_dir
from edge_index.encoders.encoder import Encoder
from edge_index.storage.store import Store
from edge_index.vectors.search import VectorSearch

DIM = 384
NOISE = 0.5
DOCUMENT = 100
"""Passages of a document."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--index", type=Path, help="where to keep the index (a temporary folder unless given)")
    parser.add_argument("--encodings", type=Path, help="a .npy file that keeps the real encodings")
    parser.add_argument("--sentences", type=int, default=24_000)
    parser.add_argument("--plain", action="store_true", help="time plain hnswlib, too")
    parser.add_argument("--only", choices=["fill", "build", "search", "add"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        options.index = options.index or Path(temporary)
        options.encodings = options.encodings or Path(temporary, "encodings.npy")
        if options.only:
            {"fill": fill, "build": build, "search": search, "add": add}[options.only](options)
            return
        if not options.encodings.is_file():
            np.save(options.encodings, real_encodings(options.folder, options.sentences))
        for step in ("fill", "build", "search", "add", "search"):  # each in a process of its own: memory is its own
            arguments = ["--passages", str(options.passages), "--index", str(options.index), "--only", step]
            subprocess.run(
                [sys.executable, __file__, str(options.folder), *arguments, "--encodings", str(options.encodings)],
                check=True,
            )
        if options.plain:
            plain(options)


# Vectors ---------------------------------------------------------------------------------------------------------


def real_encodings(folder: Path, wanted: int) -> NDArray[np.float32]:
    found = {text for text in sentences(folder) if len(text) > 30}
    texts = sorted(found)
    np.random.default_rng(1).shuffle(texts)
    started = time.perf_counter()
    with Encoder.open(models_dir() / STARTER_ENCODER) as encoder:
        encodings = np.concatenate(
            [encoder.encode(texts[i : i + 1000]) for i in range(0, min(wanted, len(texts)), 1000)]
        )
    print(f"encoded {len(encodings)} of {len(texts)} sentences in {time.perf_counter() - started:.0f} s", flush=True)
    return encodings


def sentences(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".txt", ".md"):
            yield from re.split(r"(?<=[.!?])\s+", path.read_text(errors="replace"))
    for root in (Path(os.__file__).parent, Path(np.__file__).parents[1]):
        for path in sorted(root.rglob("*.py"))[:6000]:
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    yield from re.split(r"(?<=[.:])\s+", " ".join((ast.get_docstring(node) or "").split()))


def turned(vectors: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    noise = random.standard_normal(vectors.shape, dtype=np.float32) / float(np.sqrt(DIM))
    vectors = vectors + NOISE * noise
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def copies(encodings: NDArray[np.float32], number: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """`number` perturbed copies, a thousand at a time; the same ones for the same seed."""
    random = np.random.default_rng(seed)
    for start in range(0, number, 1000):
        yield turned(encodings[random.integers(0, len(encodings), min(1000, number - start))], random)


# Steps -----------------------------------------------------------------------------------------------------------


def write(store: Store, encodings: NDArray[np.float32], passages: int, seed: int, name: str) -> None:
    """Documents of `DOCUMENT` passages each, straight into the tables. All rows of a table have their columns."""
    text = "A passage of the benchmark. "
    blobs = {"sentences": np.zeros((1, DIM), np.float16).tobytes(), "spans": np.array([[0, 26]], np.int32).tobytes()}
    number = 0
    for vectors in copies(encodings, passages, seed):
        with store.transaction():
            for start in range(0, len(vectors), DOCUMENT):
                document = insert(
                    store, "documents", {"path": f"/{name}/{number}.txt", "text": text, "sha256": "0" * 64}
                )
                for vector in vectors[start : start + DOCUMENT]:
                    number += 1
                    row = {"document": document, "end": 26, "text": "", "hash": number.to_bytes(16, "big")}
                    passage = insert(store, "passages", row)
                    insert(store, "vectors", {"passage": passage, "vector": vector.tobytes(), **blobs})
            store.bump_generation()


def insert(store: Store, table: str, values: dict[str, object]) -> int:
    """A row; columns that must have a value and are not given get an empty one."""
    columns = store._columns = getattr(store, "_columns", {})
    if table not in columns:
        columns[table] = [
            (name, "" if kind == "TEXT" else b"" if kind == "BLOB" else 0)
            for _, name, kind, needed, _, key in store._db.execute(f"PRAGMA table_info({table})")
            if needed and not key
        ]
    row = dict(columns[table]) | values
    sql = f"INSERT INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    return store._db.execute(sql, list(row.values())).lastrowid


def fill(options: argparse.Namespace) -> None:
    options.index.mkdir(parents=True, exist_ok=True)
    store = Store(options.index / "index.sqlite", create=True)
    started = time.perf_counter()
    with store.transaction():
        store.set_meta("encoder", "benchmark")
        store.set_meta("dim", str(DIM))
    write(store, np.load(options.encodings), options.passages, 7, "bulk")
    store.close()
    print(f"SQLite: {options.passages} passages written in {time.perf_counter() - started:.0f} s", flush=True)


def build(options: argparse.Namespace) -> None:
    store = Store(options.index / "index.sqlite", create=False)
    nearest = VectorSearch(options.index, store)
    before = memory()["anonymous"]
    started = time.perf_counter()
    nearest.refresh()
    seconds = time.perf_counter() - started
    vectors = options.passages * DIM * 4
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    now = memory()
    print(f"bulk build: {seconds:.0f} s with {os.cpu_count()} cores (file of vectors and graphs, published)")
    print(
        f"memory with all graphs: anonymous {(now['anonymous'] - before) / vectors:.2f} x of the vectors' bytes, "
        f"file-mapped {now['file'] / vectors:.2f} x; highest resident in all {grown / vectors:.2f} x"
    )
    nearest.close()
    store.close()
    for path in sorted(options.index.iterdir()):
        print(f"  {path.name}: {path.stat().st_size / 2**20:.0f} MiB")
    sys.stdout.flush()


def search(options: argparse.Namespace) -> None:
    questions = next(copies(np.load(options.encodings), 500, 99))
    bare = memory()["anonymous"]
    started = time.perf_counter()
    store = Store(options.index / "index.sqlite", create=False)
    nearest = VectorSearch(options.index, store)
    opened = time.perf_counter()
    nearest.search(questions[0], 30)
    first = time.perf_counter()
    print(f"open {1000 * (opened - started):.0f} ms, first answer (exact, checksums compared) {first - opened:.2f} s")
    longest, asked = 0.0, 0
    while len(nearest._parts) == 0 or nearest._maintenance is not None:
        began = time.perf_counter()
        nearest.search(questions[asked % 500], 30)
        longest, asked = max(longest, time.perf_counter() - began), asked + 1
    print(
        f"graphs loaded {time.perf_counter() - first:.2f} s later, beside {asked} more answers, "
        f"the slowest of which took {longest:.2f} s"
    )
    vectors, now = options.passages * DIM * 4, memory()
    seconds, found = [], []
    for question in questions:
        began = time.perf_counter()
        found.append({passage for passage, _ in nearest.search(question, 30)[:10]})
        seconds.append(time.perf_counter() - began)
    print(f"in {len(nearest._parts)} graphs: recall@10 {recall(nearest, questions, found):.4f}", end=", ")
    quantiles = statistics.quantiles(seconds, n=100)
    print(f"p50 {1000 * quantiles[49]:.2f} ms, p99 {1000 * quantiles[98]:.2f} ms (k = 30, {len(questions)} questions)")
    own, mapped = (now["anonymous"] - bare) / vectors, now["file"] / vectors
    print(f"memory: anonymous {own:.2f} x of the vectors' bytes, file-mapped {mapped:.2f} x", flush=True)
    nearest.close()
    store.close()


def recall(nearest: VectorSearch, questions: NDArray[np.float32], found: list[set[int]]) -> float:
    """Against a product with all vectors as SQLite has them."""
    store, best = nearest._store, [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(questions)
    ids = store.passage_ids()
    for start in range(0, len(ids), 20_000):
        piece = store.vectors_of(ids[start : start + 20_000].tolist(), DIM)
        scores = questions @ np.stack([vector for vector, *_ in piece.values()]).T
        names = np.array(list(piece))
        for i, row in enumerate(scores):
            labels, values = np.concatenate([best[i][0], names]), np.concatenate([best[i][1], row])
            top = np.argpartition(-values, 10)[:10]
            best[i] = labels[top], values[top]
    return float(np.mean([len(one & set(labels.tolist())) / 10 for one, (labels, _) in zip(found, best, strict=True)]))


def add(options: argparse.Namespace) -> None:
    """100 documents of 100 passages, and one that goes."""
    encodings = np.load(options.encodings)
    store = Store(options.index / "index.sqlite", create=False)
    nearest = VectorSearch(options.index, store)
    nearest.search(encodings[0], 30)
    write(store, encodings, 100 * DOCUMENT, 11, "later")
    started = time.perf_counter()
    nearest.refresh()
    refreshed = time.perf_counter()
    nearest.search(encodings[0], 30)
    print(
        f"100 documents ({100 * DOCUMENT} passages) added: refreshed in {refreshed - started:.2f} s, "
        f"next answer {time.perf_counter() - refreshed:.2f} s"
    )
    store.forget(["/bulk/0.txt"])
    started = time.perf_counter()
    nearest.search(encodings[0], 30)
    print(f"a document removed: next answer {time.perf_counter() - started:.2f} s", flush=True)
    nearest.close()
    store.close()


def plain(options: argparse.Namespace) -> None:
    import hnswlib

    vectors = np.concatenate(list(copies(np.load(options.encodings), options.passages, 7)))
    started = time.perf_counter()
    graph = hnswlib.Index(space="ip", dim=DIM)
    graph.init_index(max_elements=len(vectors), M=16, ef_construction=200)
    graph.add_items(vectors, np.arange(len(vectors)))
    graph.save_index(str(options.index / "plain.hnsw"))
    print(f"hnswlib the plain way (M 16, ef_construction 200): {time.perf_counter() - started:.0f} s")


def memory() -> dict[str, int]:
    """Resident bytes of this process: its own, and those of files (Linux)."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {"anonymous": int(fields["RssAnon"].split()[0]) * 1024, "file": int(fields["RssFile"].split()[0]) * 1024}


if __name__ == "__main__":
    main()
