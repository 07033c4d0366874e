"""How long a person looks at nothing: `edge --help`, and `edge chat` to its first frame on a real pseudo-terminal.

    python tests/benchmarks/startup.py [--rounds 9]

Whole processes, in turn, medians; a bare `python -c pass` stands beside them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from time import perf_counter

EDGE = str(Path(sys.executable).parent / "edge")


def whole(*command: str) -> float:
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def first_frame() -> float:
    """Seconds until the application has drawn its input line."""
    started = perf_counter()
    process, terminal = pty.fork()
    if process == 0:
        with tempfile.TemporaryDirectory() as home:
            os.environ.update(EDGE_HOME=home, TERM="xterm-256color")
            os.execv(EDGE, [EDGE, "chat"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    seen = b""
    try:
        while b"Ask" not in seen:
            if not select.select([terminal], [], [], 20)[0]:
                raise SystemExit(f"no frame in 20 s; the terminal shows: {seen!r}")
            seen += os.read(terminal, 1 << 16)
        return perf_counter() - started
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rows = {"python -c pass": [], "edge --help": [], "edge chat, first frame": []}
    for _ in range(options.rounds + 1):
        rows["python -c pass"].append(whole(sys.executable, "-c", "pass"))
        rows["edge --help"].append(whole(EDGE, "--help"))
        rows["edge chat, first frame"].append(first_frame())
    for name, seconds in rows.items():
        print(f"{name:24} median {statistics.median(seconds[1:]) * 1000:5.0f} ms  of {len(seconds) - 1}")


if __name__ == "__main__":
    main()
