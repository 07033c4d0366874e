"""The kinds of faults, each a walk over its points; one warm process runs one shard of one kind and prints its count.

python -m faults.kinds KIND FOLDER --stride 1 --shard 0 --shards 1 --guards hash,fsync
(preloaded with faulty_io.so, tests/ on PYTHONPATH; faults.py does all that)
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import gc
import json
import random
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from faults import child as child
from faults import damage as damage
from faults.child import EVERYTHING, Fault
from faults.disk import MODELS, Disk, put_down, read_record
from faults.run import Run
from faults.story import Action, Journal, Step, copy

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

MUTATIONS = 500
"""Of each cache file."""


class Walk:
    """Which of all possible points a shard takes: every `stride`-th, and of those every `shards`-th."""

    def __init__(self, stride: int, shard: int, shards: int) -> None:
        self._stride, self._shard, self._shards = stride, shard, shards
        self._seen = 0

    def takes(self) -> bool:
        number, self._seen = self._seen, self._seen + 1
        return number % self._stride == 0 and number // self._stride % self._shards == self._shard


def _calls(run: Run, step: Step, kinds: int) -> int:
    """How many calls of these kinds the step makes when nothing happens."""
    return int(run.perform(step, Fault(kinds=kinds))["calls"])


def _under(run: Run, walk: Walk, faults: dict[str, Fault]) -> None:
    """Every step under every one of the faults at every of its calls, with a look afterwards."""
    for step in run.steps:
        for name, fault in faults.items():
            for at in range(1, _calls(run, step, fault.kinds) + 1):
                if walk.takes():
                    run.perform(step, replace(fault, at=at))
                    journal, hit = _record_of(run)
                    run.count.files[hit] += 1
                    run.examine(step, journal, f"{name} at call {at} ({hit})", finish=at % 4 == 0)


def _record_of(run: Run) -> tuple[Journal, str]:
    """The journal of what was just performed, and the name of the first file that was hit."""
    journal, hit = Journal(), "none"
    for operation in read_record(run.place.record):
        if operation.kind == "N":
            journal.note(operation.path)
        elif operation.kind in "KF" and hit == "none":
            hit = name_of(operation.path)
    return journal, hit


def name_of(path: str) -> str:
    """Without the number of the process that made it."""
    return re.sub(r"\.[0-9a-f]+\.tmp$", ".tmp", Path(path).name)


def kill(run: Run, walk: Walk) -> None:
    """kill -9 before, after and, for a write, in the middle of the n-th call."""
    _under(run, walk, {"killed before": Fault(child.KILL_BEFORE), "killed after": Fault(child.KILL_AFTER)})
    _under(run, walk, {"killed in the middle": Fault(child.KILL_HALF, child.WRITE)})


def recovery(run: Run, walk: Walk) -> None:
    """kill -9, and once more of the process that then opens the index and searches it."""
    search = (Action("search", {}),)
    for step in run.steps:
        for at in range(1, _calls(run, step, EVERYTHING) + 1, 13):
            for again in range(1, 40, 3):
                if walk.takes():
                    run.perform(step, Fault(child.KILL_BEFORE, at=at))
                    journal, _ = _record_of(run)
                    opened = replace(step, actions=search, encoder="")
                    run.perform(opened, Fault(child.KILL_BEFORE, at=again), restored=True)
                    run.count.files[_record_of(run)[1]] += 1
                    run.examine(step, journal, f"killed before call {at}, and when it was opened before call {again}")


def full(run: Run, walk: Walk) -> None:
    """A disk that is full from the n-th call on: half of that write still finds room."""
    kinds = child.WRITE | child.CREATE | child.MKDIR | child.TRUNCATE
    _under(run, walk, {"full": Fault(child.FULL, kinds, 0, errno.ENOSPC)})


def short(run: Run, walk: Walk) -> None:
    """Writes that take half of what they were given: the n-th, or all from there on."""
    once, always = Fault(child.SHORT_ONCE, child.WRITE), Fault(child.SHORT_FROM, child.WRITE)
    _under(run, walk, {"one short write": once, "short writes": always})


def sync(run: Run, walk: Walk) -> None:
    """EIO from the n-th sync or write, or from all from there on."""
    for kinds, name in ((child.SYNC, "sync"), (child.WRITE, "write")):
        once, always = Fault(child.FAIL_ONCE, kinds, 0, errno.EIO), Fault(child.FAIL_FROM, kinds, 0, errno.EIO)
        _under(run, walk, {f"one {name} fails": once, f"each {name} fails": always})


def readonly(run: Run, walk: Walk) -> None:
    """The file system is mounted read-only before the n-th call."""
    kinds = (EVERYTHING | child.OPEN) & ~child.SYNC
    _under(run, walk, {"read-only": Fault(child.FAIL_FROM, kinds, 0, errno.EROFS)})


def power(run: Run, walk: Walk) -> None:
    """The power goes after the n-th call. One record of a step gives all its cuts; what two have in common is
    looked at once."""
    for step in run.steps:
        run.restore(step)
        disk = Disk(run.place.box)
        recorded = run.perform(step, Fault(), with_data=True, restored=True)
        assert (recorded["error"], recorded["signal"]) == ("", 0)
        operations = list(read_record(run.place.record))
        here = {str(p): p.read_bytes() for p in run.place.box.rglob("*") if p.is_file() and p.name[-4:] != "-shm"}
        journal, seen = Journal(), set()
        for number, operation in enumerate(operations):
            if operation.kind == "N":
                journal.note(operation.path)
                continue
            disk.apply(operation)
            for model in MODELS:
                left = disk.power_cut(model, random.Random(number))
                state = hash((tuple(sorted(left.items())), tuple(asdict(journal).values())))
                if state in seen:
                    continue
                seen.add(state)
                if walk.takes():
                    put_down(left, run.place.box)
                    run.count.files[name_of(operation.path)] += 1
                    run.examine(step, journal, f"power cut ({model}) after call {number}", finish=number % 4 == 0)
        assert disk.content() == here, "something was written past the record"


def caches(run: Run, walk: Walk) -> None:
    """The files beside the store, damaged at rest or exchanged for others."""
    step, chance = run.step("session"), random.Random(7)
    sound = damage.caches(run.after(step) / "index")
    older = damage.caches(run.after(run.step("publish")) / "index")
    other = damage.caches(run.of_another_dim() / "index")
    assert {"graph.hnsw", "vectors.f32"} <= sound.keys()
    for name, content in sound.items():
        others = [files[name] for files in (older, other) if name in files]
        for number, (what, bad) in enumerate(islice(damage.broken(content, others, chance), MUTATIONS)):
            if bad != content and walk.takes():
                files = sound | {name: bad} if bad is not None else {k: v for k, v in sound.items() if k != name}
                _with_caches(run, step, files, name, f"{name}: {what} ({number})")
    for step in run.steps:
        for another in run.steps:
            if another is not step and walk.takes():
                files = damage.caches(run.after(another) / "index")
                _with_caches(run, step, files, "all", f"the files beside the store are those after {another.name}")
        if walk.takes():
            _with_caches(run, step, other, "all", "the files beside the store have another dimension")


def _with_caches(run: Run, step: Step, files: dict[str, bytes], hit: str, what: str) -> None:
    """The store after a step, and these files beside it."""
    copy(run.after(step), run.place.box)
    for name in damage.caches(run.place.index):
        (run.place.index / name).unlink()
    for name, content in files.items():
        (run.place.index / name).write_bytes(content)
    run.count.files[hit] += 1
    run.examine(step, Journal(len(step.actions), len(step.actions)), what)


def pages(run: Run, walk: Walk) -> None:
    """Pages of the store, damaged at rest: reported, or not of any consequence."""
    step = run.step("session")
    content = (run.after(step) / "index" / "index.sqlite").read_bytes()
    for what, bad in damage.broken_pages(content, random.Random(7)):
        if bad != content and walk.takes():
            copy(run.after(step), run.place.box)
            (run.place.index / "index.sqlite").write_bytes(bad)
            run.count.files["index.sqlite"] += 1
            run.examine_damaged(step, what)


KINDS: dict[str, Callable[[Run, Walk], None]] = {
    "kill": kill,
    "recovery": recovery,
    "power": power,
    "full": full,
    "short": short,
    "sync": sync,
    "readonly": readonly,
    "caches": caches,
    "pages": pages,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--guards", default="")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
    run = Run(options.folder.resolve(), tuple(filter(None, options.guards.split(","))))
    gc.freeze()
    KINDS[options.kind](run, Walk(options.stride, options.shard, options.shards))
    json.dump(vars(run.count), sys.stdout)


if __name__ == "__main__":
    main()
