"""What is looked at before hours of tuning go by: packages, devices, the folder of the result and that of the run."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import MissingExtra, StorageError, UsageError
from edge_converters.output import manifest_path, write_json
from edge_converters.weights.checkpoint import read_json

if TYPE_CHECKING:
    from edge_converters.tuning.plan import TunePlan

_PACKAGES = ("transformers", "peft", "accelerate", "trl", "datasets", "matplotlib")
_RUN_FILE = "run.json"


def open_work(work: Path, identity: dict[str, Any], plan: TunePlan, *, restart: bool) -> None:
    """The folder of the checkpoints, of this very run. Raises UsageError when another one's lies there."""
    main = int(os.environ.get("RANK", "0")) == 0
    if restart and main:
        shutil.rmtree(work, ignore_errors=True)
    if (work / _RUN_FILE).is_file():
        before = read_json(work / _RUN_FILE)
        changed = [key for key, value in identity.items() if before.get(key) != value]
        if changed:
            raise UsageError(
                f"{work} holds an unfinished run with another {changed[0].replace('_', ' ')}; add --restart to throw "
                "it away, or give the new one another name with -o"
            )
    elif main:
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{work} cannot be made: {error.strerror}; choose another place with -o") from error
        write_json(work / _RUN_FILE, identity)
    free = shutil.disk_usage(work.parent).free
    if 3 * plan.checkpoint_bytes > free:
        raise StorageError(
            f"checkpoints need {3 * plan.checkpoint_bytes / 1e6:,.0f} MB in {work.parent}; {free / 1e6:,.0f} MB are "
            "free; make room, choose another disk with -o, or a smaller --rank"
        )


def check_out(out: Path) -> None:
    """Whether the folder could be published, before hours go by."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not manifest_path(out).is_file()):
        raise StorageError(f"{out} is there already and was not made by edge; give the adapter another name with -o")


def check_packages() -> None:
    for name in _PACKAGES:
        check_package(name)


def check_package(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise MissingExtra(name, "tune")


def check_device() -> None:
    import torch

    count = torch.cuda.device_count()
    if count > 1 and "LOCAL_RANK" not in os.environ:
        raise UsageError(
            f"there are {count} GPUs: run `accelerate launch -m edge_tui.cli.main tune …` to use all of them, or "
            "set CUDA_VISIBLE_DEVICES=0 to use the first"
        )
