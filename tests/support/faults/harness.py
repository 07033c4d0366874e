"""The fault harness from outside: builds the shim, runs the kinds of faults in processes of their own, adds up.

An index is broken in every way that a machine can break it, and must lose nothing that it acknowledged. The oracle is
a journal that the harness keeps outside the store, and an exact scan of its own. Who does what:

faulty_io.c         makes the n-th system call fail or kill, and records them all
story.py     what is done to an index, and the journal
child.py     the processes that do it
disk.py      what a power cut leaves
damage.py    files damaged at rest
guards.py    guards of the index to take away
look.py      what is found afterwards
run.py       the count
kinds.py     the kinds of faults
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

KINDS = ("kill", "recovery", "power", "full", "short", "sync", "readonly", "caches", "pages")


def compiler() -> str | None:
    """The C compiler of this machine; None where there is none, or nothing to preload into."""
    return shutil.which("cc") if sys.platform == "linux" else None


def build(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "faulty_io.so"
    source = str(HERE / "faulty_io.c")
    command = [compiler() or "cc", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", source]
    subprocess.run([*command, "-o", str(library), "-ldl", "-lpthread"], check=True)
    return library


@dataclass(frozen=True)
class Outcome:
    """What came of faults: the numbers of run.Count, and some of what was wrong, in words."""

    faults: int
    lost: int
    crashes: int
    wrong: int
    reported: int
    repaired: int
    exported: int
    exportable: int
    files: dict[str, int]
    examples: list[str]

    @property
    def bad(self) -> int:
        return self.lost + self.crashes + self.wrong


@dataclass(frozen=True)
class Job:
    """A kind of faults: every `stride`-th of its points, without these guards."""

    kind: str
    stride: int = 1
    guards: tuple[str, ...] = ()


def run(job: Job, library: Path, folder: Path, *, shards: int = 1) -> Outcome:
    """Run a job in `shards` processes side by side, each in a folder of its own below `folder`."""
    with ThreadPoolExecutor(shards) as pool:
        parts = pool.map(lambda shard: _run_shard(job, library, folder, shard, shards), range(shards))
        return add_up(parts)


def add_up(outcomes: Iterable[Outcome]) -> Outcome:
    total: dict[str, Any] = {"files": Counter(), "examples": []}
    for outcome in outcomes:
        for name, value in asdict(outcome).items():
            total[name] = total.get(name, 0) + value if isinstance(value, int) else total[name]
        total["files"].update(outcome.files)
        total["examples"] += outcome.examples
    return Outcome(**total)


def _run_shard(job: Job, library: Path, folder: Path, shard: int, shards: int) -> Outcome:
    place = folder / "-".join([job.kind, *job.guards, str(shard)])
    command = [sys.executable, "-m", "faults.kinds", job.kind, str(place)]
    command += ["--stride", str(job.stride), "--shard", str(shard), "--shards", str(shards)]
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}  # threads do not survive a fork
    done = subprocess.run(
        [*command, "--guards", ",".join(job.guards)],
        env=os.environ | one_thread | {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(place, ignore_errors=True)
    if done.returncode:
        raise RuntimeError(f"the fault harness could not run {job}: {done.stderr}")
    return Outcome(**json.loads(done.stdout))
