"""How long a person looks at nothing: `edge --help`, `edge chat` to its first frame, Enter to the evidence.

    python tests/benchmarks/startup.py [--rounds 9] [--folder FOLDER]

Whole processes on a real pseudo-terminal, medians; a bare `python -c pass` stands beside them. With FOLDER (docs/
and questions.jsonl, as for retrieval.py) the models of the data directory are used, and the time from pressing
Enter in `edge chat` until the documents' sentences are drawn is measured too.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from question_set import read_questions
from terminal import EDGE, Terminal


def whole(*command: str) -> float:
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def first_frame() -> float:
    """Seconds until the application has drawn its input line, in an empty data directory."""
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(EDGE, "chat", home=home)
        try:
            return terminal.wait_for("sk your documents") - terminal.started
        finally:
            terminal.kill()


def evidence(folder: Path, rounds: int) -> list[float]:
    """Seconds from Enter to the evidence on the screen, models loaded, the reply stopped each time."""
    questions = [q["question"] for q in read_questions(folder, answered=True)]
    seconds = []
    with tempfile.TemporaryDirectory() as index:
        subprocess.run([EDGE, "index", "add", str(folder / "docs"), "--index", index], check=True, capture_output=True)
        terminal = Terminal(EDGE, "chat", "--index", index, rows=60)
        try:
            terminal.wait_for("context")
            for question in questions[:: len(questions) // rounds][:rounds]:
                terminal.settle(1.0)
                terminal.type(question)
                terminal.settle(0.3)
                pressed = perf_counter()
                terminal.type("\r")
                seconds.append(terminal.wait_for("From your documents") - pressed)
                terminal.type("\x1b")
                terminal.settle(1.0)
                terminal.type("/new\r")
        finally:
            terminal.kill()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    rows: dict[str, list[float]] = {"python -c pass": [], "edge --help": [], "edge chat, first frame": []}
    for _ in range(options.rounds + 1):
        rows["python -c pass"].append(whole(sys.executable, "-c", "pass"))
        rows["edge --help"].append(whole(EDGE, "--help"))
        rows["edge chat, first frame"].append(first_frame())
    if options.folder:
        rows["Enter to evidence"] = evidence(options.folder, options.rounds + 1)
    for name, seconds in rows.items():
        print(f"{name:24} median {statistics.median(seconds[1:]) * 1000:5.0f} ms  of {len(seconds) - 1}")


if __name__ == "__main__":
    main()
