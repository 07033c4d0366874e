"""Examples -> a LoRA or QLoRA: read, split, tokenise, tune, and publish a PEFT folder with its card."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import arguments
from edge.errors import TuningError, TuningStopped
from edge.system.checksum import sha256_of
from edge.system.own_process import in_own_process
from edge_converters.output import atomic_output, weights_sha256, write_manifest
from edge_converters.tuning.preflight import check_device, check_out, check_package, check_packages, open_work
from edge_converters.tuning.quiet import quiet
from edge_converters.types import Export
from edge_converters.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from edge_converters.tuning.plan import TunePlan
    from edge_converters.tuning.settings import TuneProgress, TuneSettings
    from edge_converters.tuning.tokens import Row
    from edge_converters.tuning.train import Finished


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a run made.

    Attributes:
        path: The PEFT folder.
        base: What it was tuned on.
        examples: Examples that were learnt.
        held_out: Examples that were watched.
        steps: Steps that were taken.
        kept_step: The step whose adapter was kept.
        stopped_early: Whether the held-out loss ended it.
        loss_first: Of the examples that were learnt, at the beginning.
        loss_last: Likewise, at the end.
        held_out_before: Loss of what was held out under the plain base; None where nothing was.
        held_out_after: With the adapter that was kept.
        seconds: Of this call alone; a resumed run took more.
        peak_bytes: The most memory that the process took.
        sha256: Of the folder's list of files and their SHA-256.
        manifest: The path of NAME.manifest.json beside it.
    """

    path: str
    base: str
    examples: int
    held_out: int
    steps: int
    kept_step: int
    stopped_early: bool
    loss_first: float
    loss_last: float
    held_out_before: float | None
    held_out_after: float | None
    seconds: float
    peak_bytes: int
    sha256: str
    manifest: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a run needs and that can be known before it."""

    base: Path
    sources: tuple[Path, ...]
    settings: TuneSettings
    plan: TunePlan
    rows: Sequence[Row]
    held_out: Sequence[Row]
    data_sha256: str


@in_own_process
def tune(
    base: Path,
    data: Sequence[Path] | Path,
    out: Path,
    *,
    config: Path | None = None,
    held_out: Sequence[Path] | Path = (),
    restart: bool = False,
    progress: Callable[[TuneProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **settings: Any,
) -> Tuned:
    """Tune a LoRA on examples, and write it as a PEFT folder.

    Checkpoints lie beside `out` in OUT.tuning until the folder is published: the same call goes on from there.

    Args:
        base: A Hugging Face folder.
        data: Files of examples.
        out: The folder to make.
        config: A TOML file with settings.
        held_out: Files whose loss is watched and that are not learnt from, instead of a share of `data`.
        restart: Begin anew.
        progress: Called after every step.
        stop: Asked after every step; when it says so, the run saves and raises TuningStopped.
        **settings: By the names of `TuneSettings`; they win over `config`.

    Returns:
        What the run made.

    Raises:
        TuningError: For examples that cannot be learnt from.
        TuningStopped: When `stop` said so.
        UsageError: For settings that make no sense.
        ConversionError: For a base that cannot be read.
        StorageError: Where `out` cannot be written.
        MissingExtra: Without the extra `tune`.

    Examples:
        >>> tuned = edge_converters.tune(
        ...     Path("phi-3-mini"), Path("answers.jsonl"), Path("lamps"), epochs=3
        ... )  # doctest: +SKIP
    """
    started = time.monotonic()
    out = Path(os.path.abspath(out))
    ready = prepare(base, data, config=config, held_out=held_out, progress=progress, **settings)
    check_device()
    check_out(out)
    work = out.with_name(f"{out.name}.tuning")
    base_sha256 = weights_sha256(ready.base)
    open_work(work, _identity(ready, base_sha256), ready.plan, restart=restart)

    with quiet():
        finished = _run(ready, work, progress, stop)
    if finished.interrupted:
        raise _stopped(ready, finished, work)
    if not finished.here:
        return _tuned_by_other_rank(out, ready, finished)
    made = _write_adapter(out, ready, finished, base_sha256, started)
    shutil.rmtree(work, ignore_errors=True)
    return made


def prepare(
    base: Path,
    data: Sequence[Path] | Path,
    *,
    config: Path | None = None,
    held_out: Sequence[Path] | Path = (),
    progress: Callable[[TuneProgress], None] | None = None,
    **settings: Any,
) -> Prepared:
    """Read and check everything, and say what the run will take; nothing is written. Raises as `tune` does."""
    check_packages()
    base = Path(os.path.abspath(base))
    weights = Checkpoint(base)

    from edge_converters.tuning.data import conversations, data_sha256, split
    from edge_converters.tuning.plan import longest_allowed, measure, plan
    from edge_converters.tuning.settings import read_settings, settle
    from edge_converters.tuning.tokens import Encoder, encode_all

    overrides = [read_settings(config) if config else {}, settings]
    parameters = sum(info.elements for info in weights.tensors.values())
    chosen = settle(parameters, *overrides)
    if chosen.qlora:
        check_package("bitsandbytes")
    size, targets = measure(weights, chosen)
    chosen = dataclasses.replace(chosen, targets=targets)
    sources, held_out_sources = _paths(data), _paths(held_out)
    encoder = Encoder(base)
    examples, held_out_examples = (conversations(part, encoder.template) for part in (sources, held_out_sources))
    if not held_out_sources:
        examples, held_out_examples = split(examples, chosen.held_out, chosen.seed)
    advance = _advance(progress, len(examples) + len(held_out_examples))
    encoded = encode_all(encoder, [*examples, *held_out_examples], advance)
    limit = longest_allowed(encoded, chosen, size.context)
    learnt, quiet = (
        [one for one in part if len(one.tokens) <= limit]
        for part in (encoded[: len(examples)], encoded[len(examples) :])
    )
    planned, rows, held_out_rows = plan(size, learnt, quiet, chosen, left_out=len(encoded) - len(learnt) - len(quiet))
    return Prepared(
        base=base,
        sources=(*sources, *held_out_sources),
        settings=chosen,
        plan=planned,
        rows=rows,
        held_out=held_out_rows,
        data_sha256=_combined_digest(data_sha256(examples), data_sha256(held_out_examples)),
    )


def _stopped(ready: Prepared, finished: Finished, work: Path) -> TuningStopped:
    last = max((int(entry["step"]) for entry in finished.history), default=0)
    return TuningStopped(
        f"stopped after step {last:,} of {ready.plan.steps:,}; everything is saved in {work}: run the same command "
        "again and it goes on from there"
    )


def _run(
    ready: Prepared,
    work: Path,
    progress: Callable[[TuneProgress], None] | None,
    stop: Callable[[], bool] | None,
) -> Finished:
    from edge_converters.tuning.train import Run, train

    return train(
        Run(
            base=ready.base,
            rows=ready.rows,
            held_out=ready.held_out,
            settings=ready.settings,
            plan=ready.plan,
            work=work,
            progress=progress or (lambda _: None),
            stop=stop or (lambda: False),
        )
    )


def _write_adapter(
    out: Path, ready: Prepared, finished: Finished, base_sha256: Mapping[str, str], started: float
) -> Tuned:
    from edge_converters.tuning.card import draw_losses, losses_json, model_card, split_history
    from edge_converters.tuning.checkpoints import step_of

    if finished.checkpoint is None:
        raise TuningError(f"no checkpoint is left in {out.name}.tuning; run the same command again")
    kept = step_of(finished.checkpoint)
    steps, held_out = split_history(finished.history)
    made = _tuned(out, ready, finished, kept)
    with atomic_output(out, needs=ready.plan.checkpoint_bytes // 3) as partial:
        partial.mkdir()
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copyfile(finished.checkpoint / name, partial / name)
        (partial / "losses.json").write_text(json.dumps(losses_json(steps, held_out, kept), indent=1) + "\n")
        draw_losses(steps, held_out, partial / "losses.png")
        card = model_card(
            out.name,
            str(ready.base.name),
            base_sha256,
            [(path.name, sha256_of(path)) for path in ready.sources],
            ready.data_sha256,
            ready.settings,
            ready.plan,
            _results(made),
        )
        (partial / "README.md").write_text(card, encoding="utf-8")
    export: Export = write_manifest(
        out,
        "lora",
        base=ready.base,
        options={"settings": ready.settings, "plan": ready.plan, "data_sha256": ready.data_sha256},
        started=started,
        base_sha256=base_sha256,
    )
    return dataclasses.replace(made, seconds=export.seconds, sha256=export.sha256, manifest=export.manifest)


def _tuned(out: Path, ready: Prepared, finished: Finished, kept: int) -> Tuned:
    from edge_converters.tuning.card import split_history

    steps, held_out = split_history(finished.history)
    by_step = dict(held_out)
    return Tuned(
        path=str(out),
        base=str(ready.base),
        examples=ready.plan.examples,
        held_out=ready.plan.held_out,
        steps=steps[-1][0] if steps else 0,
        kept_step=kept,
        stopped_early=finished.early,
        loss_first=steps[0][1],
        loss_last=steps[-1][1],
        held_out_before=by_step.get(0),
        held_out_after=by_step.get(kept),
        seconds=0.0,
        peak_bytes=finished.peak_bytes,
        sha256="",
        manifest="",
    )


def _tuned_by_other_rank(out: Path, ready: Prepared, finished: Finished) -> Tuned:
    """What a process knows that writes nothing: one of several GPUs."""
    from edge_converters.tuning.checkpoints import best_step

    return _tuned(out, ready, finished, best_step(finished.history) or ready.plan.steps)


def _results(made: Tuned) -> dict[str, str]:
    rows = {
        "steps": f"{made.steps:,}, the adapter of step {made.kept_step:,} was kept"
        + (" (stopped early: what is held out got no better)" if made.stopped_early else ""),
        "loss of the examples, first and last step": f"{made.loss_first:.4f} -> {made.loss_last:.4f}",
    }
    if made.held_out_before is not None and made.held_out_after is not None:
        rows["loss of what was held out, base and tuned"] = f"{made.held_out_before:.4f} -> {made.held_out_after:.4f}"
    return rows


def _identity(ready: Prepared, base_sha256: Mapping[str, str]) -> dict[str, Any]:
    """What must be the same for a run to go on as it began."""
    digest = hashlib.sha256(json.dumps(dict(base_sha256), sort_keys=True).encode()).hexdigest()
    rows = {"batch_of_rows": [ready.plan.micro_batch, ready.plan.accumulate], "steps": ready.plan.steps}
    settings = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(ready.settings).items()
    }
    return {"base": digest, "data": ready.data_sha256, **settings, **rows}


def _paths(given: Sequence[Path] | Path) -> tuple[Path, ...]:
    return tuple(arguments.paths("the training data", given))


def _advance(progress: Callable[[TuneProgress], None] | None, total: int) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    from edge_converters.tuning.settings import TuneProgress

    return lambda done, _: progress(TuneProgress("tokens", done, total))


def _combined_digest(first: str, second: str) -> str:
    return hashlib.sha256(f"{first}\n{second}".encode()).hexdigest()
