"""The checkpoints of a run on the disk: which are whole, what they say of the run, and which one is the best."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

COMPLETE = "complete"
"""The file that says that a checkpoint was written to its end."""


def sound_checkpoints(work: Path) -> list[Path]:
    """The complete checkpoints by step; what a killed run left half written is removed."""
    found = []
    for folder in work.glob("checkpoint-*"):
        if (folder / COMPLETE).is_file():
            found.append(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step after which it was saved."""
    return int(checkpoint.name.rpartition("-")[2])


def history_of(checkpoint: Path) -> list[dict[str, float]]:
    """Every loss up to there, as the trainer noted it."""
    history: list[dict[str, float]] = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return history


def mark_complete(checkpoint: Path) -> None:
    """Say that a checkpoint was written to its end, once all of it is on the disk."""
    for path in checkpoint.iterdir():
        _force_out(path)
    (checkpoint / COMPLETE).touch()
    for path in (checkpoint / COMPLETE, checkpoint):
        _force_out(path)


def best_step(history: Sequence[dict[str, float]]) -> int | None:
    """The step with the lowest held-out loss; None where nothing was held out."""
    evaluated = [entry for entry in history if "eval_loss" in entry and entry["step"] > 0]
    return int(min(evaluated, key=lambda entry: entry["eval_loss"])["step"]) if evaluated else None


def has_stalled(history: Sequence[dict[str, float]], early_stopping_patience: int) -> bool:
    """Whether the last `early_stopping_patience` held-out losses were no better than one before them."""
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry and entry["step"] > 0]
    return 0 < early_stopping_patience < len(losses) and min(losses[-early_stopping_patience:]) >= min(
        losses[:-early_stopping_patience]
    )


def _force_out(path: Path) -> None:
    """To the disk itself: what is complete survives a power cut."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
