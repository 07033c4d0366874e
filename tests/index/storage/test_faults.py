"""An index under every fault that a machine has: kills, power cuts, full and failing disks, damaged files.

Every kind of fault, at every n-th of its points (n stands below); `python tests/benchmarks/faults.py` takes them all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from faults.disk import SECTOR, Disk, Operation
from faults.harness import KINDS, Job, Outcome, build, compiler, run

STRIDES = {
    "kill": 43,
    "recovery": 53,
    "power": 31,
    "full": 53,
    "short": 97,
    "sync": 101,
    "readonly": 53,
    "caches": 19,
    "pages": 13,
}

# Guards that are taken away, and the kind of faults that must then be found to do harm.
PROOFS = (
    Job("kill", 211, ("transaction",)),
    Job("kill", 211, ("log",)),
    Job("power", 71, ("sync",)),
    Job("power", 31, ("fsync", "hash")),
    Job("caches", 71, ("hash",)),
)

Outcomes = Callable[[Job], Outcome]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        pytest.skip("NOT PROVEN: that the index survives faults; the shim needs Linux and a C compiler (cc)")
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def outcomes(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """All jobs of this file, two at a time and begun at once."""
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(2) as pool:
        jobs = [*(Job(kind, STRIDES[kind]) for kind in KINDS), *PROOFS]
        futures: dict[Job, Future[Outcome]] = {job: pool.submit(run, job, library, folder) for job in jobs}
        yield lambda job: futures[job].result()
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost(outcomes: Outcomes, kind: str) -> None:
    outcome = outcomes(Job(kind, STRIDES[kind]))
    assert outcome.faults >= 25
    assert (outcome.lost, outcome.crashes, outcome.wrong) == (0, 0, 0), "\n".join(outcome.examples)
    hit = " ".join(outcome.files)
    assert "index.sqlite" in hit or kind == "caches"


@pytest.mark.parametrize("job", PROOFS, ids=lambda job: f"{job.kind} without {' and '.join(job.guards)}")
def test_harness_finds_what_a_missing_guard_does(outcomes: Outcomes, job: Job) -> None:
    outcome = outcomes(job)
    assert outcome.bad, f"{outcome.faults} faults, and nothing was found"


# The model of a power cut ----------------------------------------------------------------------------------------


def operation(kind: str, path: Path, *, target: str = "", at: int = 0, data: bytes = b"", inode: int = 1) -> Operation:
    return Operation(kind, inode, at, len(data), 0, str(path), target, data)


def left(disk: Disk, model: str) -> dict[str, bytes]:
    return {Path(name).name: content for name, content in disk.power_cut(model, random.Random(1)).items()}


def test_power_cut_takes_what_was_not_synced(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    new, final = tmp_path / "a.tmp", tmp_path / "a"
    disk.apply(operation("C", new))
    disk.apply(operation("W", new, data=b"one"))
    disk.apply(operation("R", new, target=str(final)))
    assert left(disk, "lost") == {}
    assert left(disk, "renamed") == {"a": b""}
    disk.apply(operation("S", new))
    disk.apply(operation("W", final, data=b"!", at=3))
    assert left(disk, "lost") == {}
    assert left(disk, "renamed") == {"a": b"one"}
    disk.apply(operation("S", tmp_path, at=1))
    assert left(disk, "lost") == {"a": b"one"}
    assert disk.content() == {str(final): b"one!"}


def test_power_cut_tears_writes_at_sectors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"-" * 4 * SECTOR)
    disk = Disk(tmp_path)
    disk.apply(operation("W", tmp_path / "a", data=b"x" * 3 * SECTOR, at=100, inode=(tmp_path / "a").stat().st_ino))
    seen = set()
    for seed in range(40):
        content = disk.power_cut("torn", random.Random(seed))[str(tmp_path / "a")]
        sectors = tuple(content[at : at + SECTOR].count(b"x") for at in range(0, len(content), SECTOR))
        assert all(found in (0, whole) for found, whole in zip(sectors, (412, 512, 512, 100), strict=True))
        seen.add(sectors)
    assert len(seen) > 8
