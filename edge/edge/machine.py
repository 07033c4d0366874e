"""What this machine offers to a process."""

from __future__ import annotations

import os


def physical_cores() -> int:
    """Cores that this process may use; the second thread of a core does not speed matrix products up."""
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))
