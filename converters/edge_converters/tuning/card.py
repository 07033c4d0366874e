"""What stands beside a tuned LoRA: a model card, its losses as JSON, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_converters.tuning.plan import TunePlan
from edge_converters.tuning.settings import TuneSettings

Losses = Sequence[tuple[int, float]]
"""(step, loss), by step."""


def split_history(history: Sequence[Mapping[str, float]]) -> tuple[Losses, Losses]:
    """The trainer's notes as losses of the steps, and of what is held out."""
    steps = [(int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry]
    held_out = [(int(entry["step"]), float(entry["eval_loss"])) for entry in history if "eval_loss" in entry]
    return steps, held_out


def draw_losses(steps: Losses, held_out: Losses, file: Path) -> None:
    """A PNG of both curves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(*zip(*steps, strict=True), color="#8aa4c8", linewidth=1, label="examples of the step")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color="#c0392b", marker="o", markersize=4, label="held out")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)


def losses_json(steps: Losses, held_out: Losses, best: int | None) -> dict[str, Any]:
    return {
        "steps": [{"step": step, "loss": loss} for step, loss in steps],
        "held_out": [{"step": step, "loss": loss} for step, loss in held_out],
        "kept_step": best,
    }


def model_card(
    name: str,
    base: str,
    base_sha256: Mapping[str, str],
    data: Sequence[tuple[str, str]],
    data_sha256: str,
    settings: TuneSettings,
    plan: TunePlan,
    results: Mapping[str, str],
) -> str:
    """README.md: base, data, settings and results, each so that the run can be repeated and checked."""
    weights = {file: digest for file, digest in base_sha256.items() if file.endswith(".safetensors")}
    kind = "QLoRA" if settings.qlora else "LoRA"
    return "\n".join(
        [
            "---",
            "library_name: peft",
            "pipeline_tag: text-generation",
            "tags: [lora, edge]",
            "---",
            f"# {name}",
            f"A {kind} of rank {settings.rank} for {base}, tuned with `edge tune`.",
            "",
            "## Base",
            *_table(("file", "SHA-256"), sorted(weights.items())),
            "",
            "## Data",
            f"{plan.examples} examples to learn from, {plan.held_out} held out, {plan.left_out} left out as too long; "
            f"{plan.tokens:,} tokens, {plan.learnt_tokens:,} of them the assistant's, which alone are learnt. "
            f"SHA-256 of the examples' text: `{data_sha256}`",
            "",
            *_table(("file", "SHA-256"), data),
            "",
            "## Results",
            *_table(("", ""), list(results.items())),
            "",
            "![losses](losses.png)",
            "",
            "Every loss is in losses.json.",
            "",
            "## Settings",
            *_table(("setting", "value"), [(key, _shown(value)) for key, value in asdict(settings).items()]),
            *_table_rest([("rows a step", f"{plan.micro_batch} x {plan.accumulate}"), ("steps", f"{plan.steps:,}")]),
            *_table_rest([("row length", f"{plan.max_length:,} tokens"), ("computed in", plan.dtype)]),
            *_table_rest([("device", plan.device)]),
            "",
        ]
    )


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else "by memory" if value is None else str(value)


def _table(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"| {header[0]} | {header[1]} |", "|---|---|", *_table_rest(rows)]


def _table_rest(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
