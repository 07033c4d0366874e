"""Runs the converter of the user's own llama.cpp checkout, for architectures that edge does not convert itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import ConversionError
from edge_converters.lora.merge import Merged, merge
from edge_converters.types import AdapterSource, Progress
from edge_converters.weights.checkpoint import Checkpoint

SCRIPT = "convert_hf_to_gguf.py"


def run_converter(
    checkout: Path,
    weights: Checkpoint | Merged,
    adapters: Sequence[AdapterSource],
    out: Path,
    precision: str,
    progress: Progress,
) -> None:
    """Write `out` with `checkout`'s converter; adapters are merged into a folder beside it first, which is removed
    with it. Raises ConversionError with what the converter said.
    """
    script = checkout / SCRIPT if checkout.is_dir() else checkout
    if not script.is_file():
        raise ConversionError(f"{checkout} has no {SCRIPT}; give the folder of llama.cpp's sources")
    directory = weights.directory
    if adapters:
        directory = out.parent / weights.directory.resolve().name
        merge(weights.directory, adapters, directory, progress=progress)
    command = [sys.executable, str(script), str(directory), "--outfile", str(out), "--outtype", precision]
    progress("convert", 0, 1)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode or not out.is_file():
        raise ConversionError(f"{script} could not convert {directory}: {_reason(done.stderr)}")
    progress("convert", 1, 1)


def _reason(log: str) -> str:
    """The last line of a traceback or log, which says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
