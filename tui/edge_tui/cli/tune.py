"""`edge tune`: examples into a LoRA or QLoRA, with a bar, a plot of the losses, and the export that runs it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edge.errors import ModelNotFound, TuningStopped
from edge_tui.cli.options import ANY_PATH, output_option
from edge_tui.click_types import Choice

if TYPE_CHECKING:
    from edge_converters.tuning.settings import TuneProgress
    from edge_converters.tuning.tune import Prepared, Tuned
    from edge_converters.types import Export


@click.command(epilog="Example: edge tune phi-3-mini answers.jsonl -o my-lora --export gguf")
@click.argument("base", metavar="BASE")
@click.argument("data", nargs=-1, required=True, type=ANY_PATH, metavar="DATA…")
@output_option("DIR", "The adapter: a PEFT folder.")
@click.option("--config", type=ANY_PATH, metavar="FILE", help="Every setting, as TOML; flags win over it.")
@click.option("--rank", type=int, metavar="N", help="Of the LoRA; 16 unless the base is very large.")
@click.option("--alpha", type=int, metavar="N", help="Its scale; twice the rank.")
@click.option("--epochs", type=float, metavar="N", help="How often every example is seen; 3.")
@click.option("--learning-rate", type=float, metavar="X", help="By the size of the base, 0.001 to 0.0001.")
@click.option("--batch", type=int, metavar="N", help="Examples a step; 8.")
@click.option("--max-length", type=int, metavar="N", help="The most tokens of an example; as many as the base takes.")
@click.option("--skip-long", is_flag=True, default=None, help="Leave out examples that are longer.")
@click.option("--seed", type=int, metavar="N", help="The same seed makes the same adapter; 7.")
@click.option("--qlora", is_flag=True, default=None, help="Hold the base in 4 bits: less memory, more time.")
@click.option("--held-out", multiple=True, type=ANY_PATH, metavar="FILE", help="Examples to watch, never to learn.")
@click.option("--restart", is_flag=True, help="Throw an unfinished run of this name away.")
@click.option("--export", "kind", type=Choice(["gguf", "onnx", "adapter"]), help="Convert it, with the proof.")
@click.option("-q", "--quantisation", metavar="QUANT", help="Of the export gguf: q4_k_m … as in `edge convert gguf`.")
@click.option("-p", "--precision", metavar="TYPE", help="Of the export onnx or adapter: int4 … as in `edge convert`.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what it will take, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tune(
    base: str,
    data: tuple[Path, ...],
    output: Path,
    config: Path | None,
    held_out: tuple[Path, ...],
    restart: bool,
    kind: str | None,
    quantisation: str | None,
    precision: str | None,
    dry_run: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Tune a LoRA for BASE on the conversations of DATA, and keep it as a PEFT folder.

    BASE is a Hugging Face folder or the name of one in the library. DATA are JSONL files with `messages`, or with
    `prompt` and `completion`; the model learns what the assistant says. A tenth of the examples is held out, and the
    adapter with the best loss on it is kept.

    Ctrl-C saves; the same command goes on from there, also after a crash. Several GPUs: accelerate launch -m
    edge_tui.cli.main tune … with the same arguments.
    """
    if quantisation is not None and kind != "gguf":
        raise click.UsageError("-q/--quantisation is of an export to GGUF; add --export gguf, or give -p/--precision")
    folder = find_base(base)
    if dry_run:
        from edge_converters.tuning.tune import prepare

        with _bar() as show:
            ready = prepare(folder, data, config=config, held_out=held_out, progress=show, **settings)
        _show_plan(ready, as_json)
        return
    from edge_converters import tune as tune_adapter

    with _stoppable() as stop, _bar() as show:
        try:
            tuned = tune_adapter(
                folder,
                data,
                output,
                config=config,
                held_out=held_out,
                restart=restart,
                progress=show,
                stop=stop,
                **settings,
            )
        except TuningStopped as stopped:
            click.echo(f"edge: {stopped}", err=True)
            raise click.Abort from stopped
    if not _speaks():
        return
    if not as_json:
        _show(tuned)
    export = _export(kind, quantisation or precision, folder, tuned, as_json) if kind else None
    _finish(tuned, export, as_json)


def _speaks() -> bool:
    """Whether this process is the one of several GPUs' that writes and talks."""
    return int(os.environ.get("RANK", "0")) == 0


def find_base(name: str) -> Path:
    """A Hugging Face folder by path or by its name in the library. Raises ModelNotFound."""
    from edge import library

    known = {entry.name.lower(): Path(entry.path) for entry in library.checkpoints()}
    path = Path(name).expanduser()
    if name.lower() in known and not path.is_dir():
        return known[name.lower()]
    if path.is_dir():
        return path
    if path.is_file() or any(entry.name.lower() == name.lower() for entry in library.models()):
        raise ModelNotFound(
            f"{name} is made for an engine and cannot be tuned; give the Hugging Face folder that it was made from "
            "(config.json, tokenizer and *.safetensors)"
        )
    names = ", ".join(known) or "none yet (edge models pull OWNER/NAME fetches one, edge models import FOLDER adds one)"
    raise ModelNotFound(f"there is no folder {name!r} to tune; give its path, or one of: {names}")


def _export(kind: str, precision: str | None, base: Path, tuned: Tuned, as_json: bool) -> Export:
    """OUT-q4_k_m.gguf, OUT-int4/ or OUT-lora.gguf beside the adapter, proved."""
    from edge_converters import to_adapter, to_gguf, to_onnx
    from edge_tui.cli.convert import conversion

    lora = Path(tuned.path)
    with conversion(lambda refused: _print(tuned, refused, as_json)) as show:
        if kind == "gguf":
            precision = (precision or "q4_k_m").lower()
            out = lora.with_name(f"{lora.name}-{precision}.gguf")
            return to_gguf(base, out, adapters=lora, precision=precision, progress=show)
        if kind == "onnx":
            chosen: Any = precision or "int4"
            out = lora.with_name(f"{lora.name}-{chosen}")
            return to_onnx(base, out, adapters=lora, precision=chosen, progress=show)
        out = lora.with_name(f"{lora.name}-lora.gguf")
        return to_adapter(lora, out, base=base, precision=precision, progress=show)


def _finish(tuned: Tuned, export: Export | None, as_json: bool) -> None:
    _print(tuned, export, as_json)
    if not as_json:
        click.echo(export.path if export else tuned.path)


def _print(tuned: Tuned, export: Export | None, as_json: bool) -> None:
    """What was made, as JSON, or the proof of the export."""
    from edge_tui.cli.convert import as_fields, print_proof
    from edge_tui.cli.output import print_json, to_jsonable

    if as_json:
        print_json({"tuned": to_jsonable(tuned), **(as_fields(export) if export else {})})
    elif export is not None:
        print_proof(export)


def _show(tuned: Tuned) -> None:
    """The curves and the figures, to standard error: the path alone is the result."""
    import json

    from edge_tui.cli.output import status
    from edge_tui.cli.reports.plot import draw

    losses = json.loads((Path(tuned.path) / "losses.json").read_text(encoding="utf-8"))
    steps = [(entry["step"], entry["loss"]) for entry in losses["steps"]]
    held_out = [(entry["step"], entry["loss"]) for entry in losses["held_out"]]
    for row in draw(steps, held_out):
        click.echo(row, err=True)
    if held_out:
        status("loss of every step, and ● of what was held out")
    for line in _figures(tuned):
        click.echo(line, err=True)


def _figures(tuned: Tuned) -> Iterator[str]:
    yield f"loss      {tuned.loss_first:.3f} in the first step, {tuned.loss_last:.3f} in step {tuned.steps:,}"
    before, after = tuned.held_out_before, tuned.held_out_after
    if after is not None:
        base = "" if before is None else f"{before:.3f} under the base, "
        yield f"held out  {base}{after:.3f} with the adapter, over {tuned.held_out} examples"
        if before is not None and after >= before:
            yield "          that is no gain: more or other examples, or a lower --learning-rate, may bring one"
    kept = f"kept      the adapter of step {tuned.kept_step:,}"
    yield kept + ("; stopped early, what is held out got no better" if tuned.stopped_early else "")
    yield f"took      {_duration(tuned.seconds)}, {tuned.peak_bytes / 1e9:.1f} GB of memory at the most"


def _show_plan(ready: Prepared, as_json: bool) -> None:
    from edge_tui.cli.output import print_json
    from edge_tui.rendering.units import format_size
    from edge_tui.terminal import visible_name

    plan, settings = ready.plan, ready.settings
    if as_json:
        from edge_tui.cli.output import to_jsonable

        print_json({"plan": to_jsonable(plan), "settings": to_jsonable(settings)})
        return
    left = f", {plan.left_out} left out as too long" if plan.left_out else ""
    click.echo(f"examples  {plan.examples:,} to learn from, {plan.held_out:,} held out{left}")
    click.echo(f"tokens    {plan.tokens:,} an epoch, {plan.learnt_tokens:,} learnt; the longest has {plan.longest:,}")
    click.echo(f"steps     {plan.steps:,} in {plan.epochs:g} epochs, {plan.micro_batch} x {plan.accumulate} rows each")
    kind, targets = "QLoRA" if settings.qlora else "LoRA", visible_name(", ".join(settings.targets))
    click.echo(f"adapter   {kind}, rank {settings.rank}, on {targets}: {plan.trainable:,} parameters")
    click.echo(f"base      {plan.parameters:,} parameters, computed in {plan.dtype} on {plan.device}")
    click.echo(f"memory    roughly {format_size(plan.memory_bytes)}, {format_size(plan.available_bytes)} available")
    click.echo(f"disk      {format_size(3 * plan.checkpoint_bytes)} while it works")
    click.echo(f"time      roughly {_duration(plan.seconds)} on this machine")


def _duration(seconds: float) -> str:
    """For people: '48 s', '7 min', '2 h 05 min'."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


@contextmanager
def _bar() -> Iterator[Callable[[TuneProgress], None]]:
    """A bar with losses and the time left; without a terminal, a line at every held-out loss."""
    from edge_tui.cli.output import progress_bar, status

    if not _speaks():
        yield lambda _: None
        return
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}
        latest: list[float | None] = [None]

        def show(now: TuneProgress) -> None:
            losses = "" if now.loss is None else f"  loss {now.loss:.3f}"
            losses += "" if now.held_out is None else f"  held out {now.held_out:.3f}"
            if bar is not None:
                task = tasks.get(now.stage)
                if task is None:
                    task = tasks[now.stage] = bar.add_task(now.stage, total=now.total)
                bar.update(task, completed=now.done, total=now.total, description=f"{now.stage}{losses}")
            elif now.held_out != latest[0] or now.stage not in tasks:
                tasks[now.stage], latest[0] = True, now.held_out
                status(f"{now.stage}: {now.done:,} of {now.total:,}{losses}")

        yield show


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the run to save and end after its step; a second one ends it at once."""
    asked: list[bool] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        print("edge: saving after this step; Ctrl-C again ends at once", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
