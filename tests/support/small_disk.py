"""A disk that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str, *, lazy: bool = False) -> Iterator[Path]:
    """`folder` as a disk of its own of that size ("512k"). Skips, and says so, where none can be mounted.

    At the end nothing on it may be open any more, unless `lazy`.
    """
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        reason = mounted.stderr.decode().strip()
        pytest.skip(f"no small disk can be mounted here ({reason}): the full disk is NOT tested")
    try:
        yield folder
    finally:
        subprocess.run(["umount", *(["--lazy"] if lazy else []), folder], check=True)


def resize(disk: Path, size: str) -> None:
    """More room on the same disk."""
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
