"""Options that several commands share, and the settings that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_tui.click_types import Choice, Option

if TYPE_CHECKING:
    from edge.settings import Settings
    from edge.types import RagOptions, Sampling

Command = TypeVar("Command", bound=Callable[..., Any])

ANY_PATH = click.Path(path_type=Path)


YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
SAVE_AS = click.option("--name", "save_as", cls=Option, old=["--as"], metavar="NAME", help="What to call it here.")


def output_option(metavar: str, help: str, *, required: bool = True) -> Callable[[Command], Command]:
    """Where the result goes: `-o`, `--output`."""
    names = ("-o", "--output")
    return click.option(*names, cls=Option, old=["--out"], required=required, type=ANY_PATH, metavar=metavar, help=help)


def replace_option(help: str, *, old: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Whether what has the name already gives way: `--replace`."""
    return click.option("--replace", cls=Option, old=old, is_flag=True, help=help)


_ANSWERING = (
    click.option(
        "--docs", multiple=True, type=ANY_PATH, metavar="PATH", help="A file or folder to answer from; repeatable."
    ),
    click.option("--index", metavar="DIR", help="An index to answer from: a folder, or the name of one."),
    click.option("-m", "--model", metavar="MODEL", help="A model by name (edge models list) or path."),
    click.option(
        "-a", "--adapter", metavar="LORA", help="A LoRA: a PEFT folder, a file, or a name (edge adapters list)."
    ),
    click.option("--scale", type=float, metavar="X", help="How much the adapter counts (default 1)."),
    click.option("-s", "--system", metavar="TEXT", help="What the model is told before everything else."),
    click.option("-k", type=click.IntRange(1, 100), metavar="N", help="Passages to look at (default 5)."),
    click.option(
        "--min-answerable",
        cls=Option,
        old=["--certainty"],
        type=click.FloatRange(0, 1),
        metavar="P",
        help="Below this probability the documents do not tell (default 0.5; 0 answers always).",
    ),
    click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="The longest reply (default 512)."),
    click.option("--context", type=click.IntRange(16), metavar="N", help="Tokens that prompt and reply share."),
    click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: the physical cores."),
    click.option("--engine", type=Choice(["gguf", "onnx"]), help="Where a name stands for models of both."),
    click.option("--gpu-layers", metavar="N|all|auto", help="Layers on the GPU (default auto)."),
    click.option("--kv-type", type=Choice(["f16", "q8_0", "q4_0"]), help="Type of the KV cache (default f16)."),
    click.option("--provider", type=Choice(["cpu", "cuda", "dml"]), help="Where ONNX computes."),
    click.option("--force", is_flag=True, help="Load a model even if it does not fit into free memory."),
    click.option(
        "--think/--no-think", default=None, help="Let the model think first, where it can do without (default: no)."
    ),
    click.option("--temperature", type=click.FloatRange(0), metavar="T", help="0, the default, is greedy."),
    click.option("--top-p", type=click.FloatRange(0, 1), metavar="P", help="Only the likeliest, up to this share."),
    click.option("--top-k", type=click.IntRange(0), metavar="N", help="Only so many of the likeliest; 0 is off."),
    click.option("--min-p", type=click.FloatRange(0, 1), metavar="P", help="Only from this share of the best's odds."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", help="The same seed, the same answer."),
    click.option(
        "--repeat-penalty", type=click.FloatRange(1, 2), metavar="X", help="Against saying it again; 1 is off."
    ),
    click.option("--stop", multiple=True, metavar="TEXT", help="End the reply before this text; repeatable."),
)
_SAMPLING = ("top_p", "top_k", "min_p", "seed", "repeat_penalty", "stop")
"""Those of them that choose tokens and are no settings."""
_NOT_GREEDY = ("top_p", "top_k", "min_p")


def answering(command: Command) -> Command:
    """The options of everything that answers; the command gets them as keyword arguments."""
    for option in reversed(_ANSWERING):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Request:
    """What a command that answers was told: where to look, and the merged settings."""

    docs: tuple[Path, ...]
    adapter: str | None
    scale: float
    force: bool
    settings: Settings
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """How tokens are chosen, as far as it was told."""

    @classmethod
    def of(
        cls, *, docs: tuple[Path, ...], adapter: str | None, scale: float | None, force: bool, **flags: object
    ) -> Request:
        """Merge flags, environment and config.toml. `--docs` and `--index` exclude each other."""
        if docs and flags.get("index"):
            raise click.UsageError("give either --docs or --index, not both")
        if scale is not None and adapter is None:
            raise click.UsageError("--scale needs an --adapter")
        given = {name: value for name in _SAMPLING if (value := flags.pop(name, None)) not in (None, ())}
        return cls(docs, adapter, 1.0 if scale is None else scale, force, settings(**flags), given)

    def sampling(self) -> Sampling:
        from edge.types import Sampling

        return Sampling(
            temperature=self.settings.temperature,
            max_tokens=self.settings.max_tokens,
            thinking_budget=self.settings.thinking_budget,
            **self.chosen,
        )

    def rag_options(self) -> RagOptions:
        from edge.types import RagOptions

        return RagOptions(
            k=self.settings.k,
            prompt_passages=self.settings.prompt_passages,
            extra_read_seconds=self.settings.extra_read_seconds,
            min_answerable=self.settings.min_answerable,
        )

    def sampling_notes(self) -> list[str]:
        """What of the sampling that was told has no effect, in sentences."""
        idle = [f"--{name.replace('_', '-')}" for name in _NOT_GREEDY if name in self.chosen]
        if not idle or self.settings.temperature:
            return []
        return [f"{', '.join(idle)}: without effect at temperature 0, which is greedy; add --temperature 0.7."]


def settings(**flags: object) -> Settings:
    """Flags over `EDGE_*` over config.toml over defaults."""
    from edge.settings import load_settings
    from edge.system import paths

    return load_settings(flags, config=paths.config_file())
