"""How long a key takes to appear in `edge chat` while it works, and what the app's memory is after many turns.

    python tests/benchmarks/responsiveness.py FOLDER [--model MODEL] [--keys 60] [--turns 200]

On a real pseudo-terminal, with the models of the data directory. Three loads: a model is being loaded (MODEL; the
larger, the longer), the documents of FOLDER are being indexed, an answer is streaming. A key is a letter that no answer
holds; its time is from writing it to the terminal until the app has drawn it. Prints median, 95th percentile and
maximum in milliseconds. Memory is that of the whole process after the fifth turn and after the last, each a question
with a reply of at most 16 tokens.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import psutil
from terminal import EDGE, Terminal

LETTERS = "ƀƃƅƈƌƕƙƚƛƞƣƥƨƪƫƭƴƶƹƺƽƿ"
"""One column wide, and in no model's mouth."""
PAUSE = 0.06


def echoes(terminal: Terminal, count: int) -> list[float]:
    """Seconds from each of `count` keys to its drawing; the input is emptied now and then."""
    seconds = []
    for number in range(count):
        letter = LETTERS[number % len(LETTERS)]
        pressed = perf_counter()
        terminal.type(letter)
        seconds.append(terminal.wait_for(letter, 30.0) - pressed)
        terminal.settle(PAUSE)
        if number % len(LETTERS) == len(LETTERS) - 1:
            terminal.type("\x15")  # Ctrl+U: empties the line
            terminal.settle(PAUSE)
    return seconds


def begin(terminal: Terminal) -> None:
    """Leave the first-run screen, which comes once the model is there, since no documents are."""
    terminal.wait_for("Welcome to edge")
    terminal.settle(1.0)
    terminal.type("\x1b")
    terminal.settle(1.0)


def loading(model: str | None, keys: int) -> list[float]:
    terminal = Terminal(EDGE, "chat", *(["-m", model] if model else []))
    try:
        terminal.wait_for("sk your documents")
        return echoes(terminal, keys)
    finally:
        terminal.kill()


def indexing(folder: Path, keys: int) -> list[float]:
    with tempfile.TemporaryDirectory() as index:
        terminal = Terminal(EDGE, "chat", "--index", index)
        try:
            begin(terminal)
            terminal.type(f"/add {folder / 'docs'}")
            terminal.settle(0.5)
            terminal.type("\r")
            terminal.wait_for("passages")
            return echoes(terminal, keys)
        finally:
            terminal.kill()


def streaming(keys: int) -> list[float]:
    with tempfile.TemporaryDirectory() as index:
        os.environ["EDGE_MAX_TOKENS"] = "2000"
        terminal = Terminal(EDGE, "chat", "--index", index)
        try:
            begin(terminal)
            terminal.type("Write a very long story about a lighthouse, with many chapters.")
            terminal.settle(0.5)
            terminal.type("\r")
            terminal.wait_for("tok/s")
            return echoes(terminal, keys)
        finally:
            terminal.kill()
            del os.environ["EDGE_MAX_TOKENS"]


def memory(turns: int) -> tuple[float, float]:
    """Megabytes after the fifth turn and after the last."""
    with tempfile.TemporaryDirectory() as index:
        os.environ["EDGE_MAX_TOKENS"] = "16"
        terminal = Terminal(EDGE, "chat", "--index", index)
        process = psutil.Process(terminal.pid)
        sizes = []
        try:
            begin(terminal)
            for turn in range(turns):
                terminal.type(f"Tell me something about the number {turn}.")
                terminal.settle(0.05)
                terminal.type("\r")
                terminal.wait_for("tok/s")
                terminal.settle(0.4)
                if turn in (4, turns - 1):
                    sizes.append(process.memory_info().rss / 1e6)
        finally:
            terminal.kill()
            del os.environ["EDGE_MAX_TOKENS"]
    return sizes[0], sizes[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="what is loaded in the first load; the settings' one unless told")
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--turns", type=int, default=200)
    options = parser.parse_args()
    loads = {
        "while a model loads": lambda: loading(options.model, options.keys),
        "while a folder is indexed": lambda: indexing(options.folder, options.keys),
        "while an answer streams": lambda: streaming(options.keys),
    }
    for name, load in loads.items():
        found = sorted(1000 * seconds for seconds in load())
        late = found[int(0.95 * len(found))]
        print(f"{name:26} median {statistics.median(found):5.1f} ms, 95 % {late:5.1f} ms, most {found[-1]:5.1f} ms")
    if options.turns:
        early, last = memory(options.turns)
        print(f"memory after 5 turns {early:.0f} MB, after {options.turns} turns {last:.0f} MB")


if __name__ == "__main__":
    main()
