"""The gate behind every conversion: an export whose proof fails gets a name that nobody takes for a good one, and is
refused.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from edge.errors import ParityError
from edge_converters.output import companion_path, manifest_path, write_json
from edge_converters.parity import check_parity
from edge_converters.types import Adapters, Export, Parity, Progress


def verify(
    export: Export,
    *,
    base: Path,
    adapters: Adapters = (),
    prompts: Path | None = None,
    exported_base: Path | None = None,
    progress: Progress | None = None,
) -> Export:
    """`export` with the proof that it does what `base` with `adapters` does; the proof also stands beside it.

    Arguments as for `check_parity`. Raises ParityError, with the export as `NAME.failed`, where it does not, and what
    `check_parity` raises, with the export left where it is, where the proof cannot be made.
    """
    out = Path(export.path)
    parity = prove(out, base=base, adapters=adapters, prompts=prompts, exported_base=exported_base, progress=progress)
    if parity.passed:
        return replace(export, parity=parity)
    failed = set_aside(out)
    raise parity_error(
        parity, failed, replace(export, path=str(failed), manifest=str(manifest_path(failed)), parity=parity)
    )


def prove(
    out: Path,
    *,
    base: Path,
    adapters: Adapters = (),
    prompts: Path | None = None,
    exported_base: Path | None = None,
    progress: Progress | None = None,
) -> Parity:
    """`check_parity`, with the proof written beside `out`, whatever it says."""
    parity = check_parity(
        out, base=base, adapters=adapters, prompts=prompts, exported_base=exported_base, progress=progress
    )
    write_report(parity, out)
    return parity


def parity_path(out: Path) -> Path:
    """Where the proof of an export stands: out.gguf -> out.parity.json, a folder out -> out.parity.json."""
    return companion_path(out, "parity")


def write_report(parity: Parity, out: Path) -> Path:
    """Write NAME.parity.json beside the export, whole or not at all. Raises StorageError."""
    path = parity_path(out)
    write_json(path, asdict(parity))
    return path


def set_aside(out: Path) -> Path:
    """Rename an export that failed, and what belongs to it, to NAME.failed; what had that name is replaced."""
    failed = out.with_name(f"{out.stem}.failed{out.suffix}")
    for path, name in [
        (out, failed),
        *((companion_path(out, what), companion_path(failed, what)) for what in ("manifest", "parity")),
    ]:
        if name.is_dir():
            shutil.rmtree(name)
        if path.exists():
            path.replace(name)
    return failed


def parity_error(parity: Parity, where: Path, export: Export | None = None) -> ParityError:
    """The refusal of what lies at `where`, by the checks that failed."""
    failed = parity.failed()
    return ParityError(
        f"PARITY FAILED ({', '.join(check.name for check in failed)}): {failed[0].meaning}; "
        f"do not use {where}, and see {where.name}'s parity report for every figure",
        export=export,
    )
