"""How little is done again: one edited paragraph in an index of many passages, and a second run over many files.

    python tests/benchmarks/incremental.py FOLDER [--passages 10000] [--files 10000]

FOLDER holds Markdown or text; its sentences, shuffled into paragraphs, make documents of 40 paragraphs each. The
starter encoder is that of EDGE_HOME.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge.text.sentences import sentence_spans
from edge_index import Index

PER_DOCUMENT = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=10_000)
    given = parser.parse_args()
    texts = [path.read_text() for path in sorted(given.folder.rglob("*")) if path.suffix in (".md", ".txt")]
    sentences = [
        text[a:b] for text in texts for a, b in sentence_spans(text) if 40 < b - a < 300 and "\n" not in text[a:b]
    ]
    with tempfile.TemporaryDirectory() as made:
        edit(Path(made), sentences, given.passages)
    with tempfile.TemporaryDirectory() as made:
        again(Path(made), given.files)


def edit(folder: Path, sentences: list[str], passages: int) -> None:
    docs = folder / "docs"
    docs.mkdir()
    chosen = random.Random(0)
    for number in range(passages // PER_DOCUMENT):
        paragraphs = [" ".join(chosen.sample(sentences, 3)) for _ in range(PER_DOCUMENT)]
        (docs / f"{number:04}.txt").write_text("\n\n".join(paragraphs))
    with Index.open(folder / "index") as index:
        began = time.perf_counter()
        index.add([docs])
        seconds = time.perf_counter() - began
        print(f"{len(index):,} passages added in {seconds:.1f} s, {len(index) / seconds:.0f} a second")
        index.search("warm")
        for trial, beast in enumerate(("Zebra", "Okapi", "Walrus")):
            path = docs / f"{trial + 5:04}.txt"
            paragraphs = path.read_text().split("\n\n")
            paragraphs[17] = (
                paragraphs[17][:60] + f" {beast} number {trial} grazes by the canal of Utrecht. " + paragraphs[17][60:]
            )
            path.write_text("\n\n".join(paragraphs))
            began = time.perf_counter()
            report = index.add([docs])
            found = index.search(f"{beast} canal Utrecht", 1)
            seconds = time.perf_counter() - began
            print(
                f"one paragraph edited: {report.embedded} passages encoded, {report.reused} kept, "
                f"found: {f'{beast} number' in found[0].text}, after {seconds:.2f} s"
            )


def again(folder: Path, files: int) -> None:
    docs = folder / "docs"
    for number in range(files):
        path = docs / f"{number % 100:02}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Note {number}.")
    command = [
        sys.executable,
        "-m",
        "edge_tui.cli.main",
        "index",
        "add",
        str(docs),
        "--index",
        str(folder / "index"),
    ]
    for run in ("first", "second", "third"):
        began = time.perf_counter()
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"{files:,} files, {run} run of `edge index add`: {time.perf_counter() - began:.2f} s: {said}")


if __name__ == "__main__":
    main()
