"""What this machine offers to a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def physical_cores() -> int:
    """Cores that this process may use; the second thread of a core does not speed matrix products up."""
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


_THREAD, _GPU = 1.5e11, 1e13
"""Operations a second in large products of quantised weights: of a thread (measured on one server core with AVX-512:
1.5 to 2.7e11), of a GPU."""


def prefill_rate(parameters: int, threads: int, *, gpu: bool = False) -> float:
    """Roughly how many tokens of a prompt a model reads a second. Reckoned and not measured, so that what rests on it
    is the same at every run, whatever else the machine does."""
    return (_GPU if gpu else threads * _THREAD) / (2 * max(1, parameters))


def on_battery() -> bool:
    """Whether this machine runs on its battery now; False where that is not known."""
    import psutil

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False


def available_memory() -> int:
    """Bytes that this process can take before something is swapped or killed.

    The machine's free memory with what its caches can give back, or less where a container, a cgroup or a limit on
    the address space (ulimit -v) allows less.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    return max(0, min([free, *cgroup_memory(), *_address_space()]))


def cgroup_memory(root: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> Iterator[int]:
    """The bytes left under every memory limit on the way up from this process's control group, of version 1 or 2.

    Pages of files count as free, for the kernel gives them back first. A container sees its own limits at `root`
    whatever path `own` names. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, limit, used, pages = root, "memory.max", "memory.current", ("inactive_file", "active_file")
        elif "memory" in controllers.split(","):
            folder, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            pages = ("total_inactive_file", "total_active_file")
        else:
            continue
        here = folder / path.strip("/")
        for place in (here, *here.parents):
            left = _left(place, limit, used, pages)
            if left is not None:
                yield left
            if place == folder:
                break


def _left(folder: Path, limit: str, used: str, pages: tuple[str, ...]) -> int | None:
    try:
        most, now = ((folder / name).read_text(encoding="ascii").strip() for name in (limit, used))
        if not most.isdigit():  # "max"
            return None
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return None
    return int(most) - int(now) + sum(int(stat.get(page, 0)) for page in pages)


def _address_space() -> Iterator[int]:
    if sys.platform == "win32":
        return
    import resource

    import psutil

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        yield most - int(psutil.Process().memory_info().vms)
