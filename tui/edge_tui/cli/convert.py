"""`edge convert`: base models and LoRAs into files that an engine runs, each with the proof that it still says
what the original says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_tui.cli.options import ANY_PATH, output_option
from edge_tui.cli.parameter_types import Choice, Group, Option

if TYPE_CHECKING:
    from edge_converters.onnx.export import Precision, Provider
    from edge_converters.output import AdapterSource, Export, Progress
    from edge_converters.parity import Parity

Command = TypeVar("Command", bound=Callable[..., Any])

_BASE = click.argument("base", type=ANY_PATH)
_OUT = output_option("PATH", "What to write.")
_ADAPTERS = click.option(
    "-a",
    "--adapter",
    "adapters",
    multiple=True,
    metavar="PEFT[=WEIGHT]",
    help="A LoRA as PEFT saves it; repeatable, each with a weight.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_DRY = click.option("--dry-run", is_flag=True, help="Check everything, say what it will take, write nothing.")
_PROMPTS = click.option(
    "--prompts", type=ANY_PATH, metavar="FILE", help="Your own probe prompts: one a line, or JSON lines."
)
_NO_VERIFY = click.option("--no-verify", is_flag=True, help="Do not compare the export with the original.")


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group(cls=Group)
def convert() -> None:
    """Turn base models and LoRAs into GGUF and ONNX, and prove that they still say the same.

    BASE is a Hugging Face model folder: config.json, tokenizer and *.safetensors. Weights are read tensor by
    tensor, so that a model may be larger than the memory.
    """


@convert.command(epilog="Example: edge convert merge phi-3-mini --adapter my-lora -o phi-3-mine")
@_options(_BASE, _ADAPTERS, _OUT, _DRY, _JSON)
def merge(base: Path, adapters: tuple[str, ...], output: Path, dry_run: bool, as_json: bool) -> None:
    """Merge LoRAs into their base: a Hugging Face folder again."""
    from edge_converters import merge as merge_weights

    sources = _sources(adapters)
    if not sources:
        raise click.UsageError("nothing to merge: name a LoRA with --adapter")
    if dry_run:
        _show_plan("merge", base, sources, output, None, as_json)
        return
    from edge_tui.cli.output import stages

    with stages() as show:
        export = merge_weights(base, sources, output, progress=show)
    _show(export, None, as_json)


@convert.command(epilog="Example: edge convert gguf phi-3-mini --adapter my-lora -q q4_k_m -o mine.gguf")
@_options(_BASE, _ADAPTERS, _OUT)
@click.option(
    "-q",
    "--quantisation",
    cls=Option,
    old=["--precision"],
    default="q4_k_m",
    metavar="QUANT",
    help="f32 f16 bf16 q8_0 q6_k q5_k_m q5_k_s q4_k_m … (default q4_k_m).",
)
@click.option("--imatrix", type=ANY_PATH, metavar="FILE", help="An importance matrix of llama.cpp for the quantiser.")
@click.option(
    "--converter",
    type=ANY_PATH,
    metavar="PATH",
    help="Your own llama.cpp checkout, for architectures that edge does not convert.",
)
@_options(_PROMPTS, _NO_VERIFY, _DRY, _JSON)
def gguf(
    base: Path,
    adapters: tuple[str, ...],
    output: Path,
    quantisation: str,
    imatrix: Path | None,
    converter: Path | None,
    prompts: Path | None,
    no_verify: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a GGUF file for llama.cpp, Ollama, LM Studio and `edge chat`, LoRAs merged on the way."""
    from edge_converters import to_gguf
    from edge_tui.cli.output import stages

    sources, precision = _sources(adapters), quantisation.lower()
    if dry_run:
        _show_plan("gguf", base, sources, output, precision, as_json)
        return
    with stages() as show:
        export = to_gguf(
            base, output, adapters=sources, precision=precision, imatrix=imatrix, converter=converter, progress=show
        )
        parity = None if no_verify else compare_export(output, base, sources, prompts, show)
    _show(export, parity, as_json)


@convert.command(epilog="Example: edge convert onnx phi-3-mini --adapter my-lora -p int4 -o mine/")
@_options(_BASE, _ADAPTERS, _OUT)
@click.option(
    "-p",
    "--precision",
    default="int4",
    type=Choice(["int4", "int8", "fp16", "fp32"]),
    help="Of the weights (default int4).",
)
@click.option("--provider", default="cpu", type=Choice(["cpu", "cuda", "dml"]), help="What will run it.")
@_options(_PROMPTS, _NO_VERIFY, _DRY, _JSON)
def onnx(
    base: Path,
    adapters: tuple[str, ...],
    output: Path,
    precision: Precision,
    provider: Provider,
    prompts: Path | None,
    no_verify: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a folder for onnxruntime-genai, LoRAs merged on the way."""
    from edge_converters import to_onnx
    from edge_tui.cli.output import stages

    sources = _sources(adapters)
    if dry_run:
        _show_plan("onnx", base, sources, output, precision, as_json)
        return
    with stages() as show:
        export = to_onnx(base, output, adapters=sources, precision=precision, provider=provider, progress=show)
        parity = None if no_verify else compare_export(output, base, sources, prompts, show)
    _show(export, parity, as_json)


@convert.command(epilog="Example: edge convert adapter my-lora --base phi-3-mini -o mine.gguf")
@click.argument("lora", type=ANY_PATH)
@click.option("--base", required=True, type=ANY_PATH, metavar="DIR", help="The base model's folder.")
@_OUT
@click.option("-p", "--precision", metavar="TYPE", help="f16 or f32 for GGUF; of the base with slots: int4 … fp32.")
@click.option(
    "--base-output",
    cls=Option,
    old=["--base-out"],
    type=ANY_PATH,
    metavar="DIR",
    help="Also write the base as ONNX with slots that adapters are plugged into.",
)
@_options(_PROMPTS, _NO_VERIFY, _DRY, _JSON)
def adapter(
    lora: Path,
    base: Path,
    output: Path,
    precision: str | None,
    base_output: Path | None,
    prompts: Path | None,
    no_verify: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a LoRA that is swapped at run time: OUT.gguf for llama.cpp, OUT.onnx_adapter for onnxruntime-genai."""
    from edge_converters import to_adapter
    from edge_converters.output import AdapterSource
    from edge_tui.cli.output import stages

    sources = [AdapterSource(lora)]
    if dry_run:
        _show_plan("onnx" if base_output else "adapter", base, sources, output, precision or "int4", as_json)
        return
    with stages() as show:
        export = to_adapter(lora, output, base=base, base_out=base_output, precision=precision, progress=show)
        parity = None if no_verify else compare_export(output, base, sources, prompts, show, engine_base=base_output)
    _show(export, parity, as_json)


@convert.command(epilog="Example: edge convert encoder bge-small -o encoders/bge-small")
@click.argument("directory", type=ANY_PATH)
@_OUT
@click.option("--variant", default="int8", type=Choice(["int8", "fp32"]), help="Default: int8.")
@_JSON
def encoder(directory: Path, output: Path, variant: Any, as_json: bool) -> None:
    """Write a sentence-transformers model as the ONNX folder that indexes use."""
    from edge_converters import convert_encoder
    from edge_tui.cli.output import stages

    with stages() as show:
        export = convert_encoder(directory, output, variant=variant, progress=show)
    _show(export, None, as_json)


@convert.command(epilog="Example: edge convert parity mine.gguf --base phi-3-mini --adapter my-lora")
@click.argument("export", type=ANY_PATH)
@click.option("--base", required=True, type=ANY_PATH, metavar="DIR", help="The original base model's folder.")
@click.option("--engine-base", type=ANY_PATH, metavar="PATH", help="For a LoRA: the converted base that it runs on.")
@_options(_ADAPTERS, _PROMPTS, _JSON)
def parity(
    export: Path,
    base: Path,
    engine_base: Path | None,
    adapters: tuple[str, ...],
    prompts: Path | None,
    as_json: bool,
) -> None:
    """Compare an export with its original: tokens, template, probabilities, adapter effect, weights."""
    from edge_tui.cli.output import print_json, stages

    with stages() as show:
        report = compare_export(export, base, _sources(adapters), prompts, show, engine_base=engine_base)
    if as_json:
        print_json(report)
    else:
        print_parity(report)
    if not report.passed:
        raise parity_failure(report, export)


def _sources(adapters: Sequence[str]) -> list[AdapterSource]:
    """PATH or PATH=WEIGHT, each."""
    from edge_converters.output import AdapterSource

    sources = []
    for text in adapters:
        path, _, weight = text.rpartition("=")
        try:
            sources.append(AdapterSource(Path(path), float(weight)) if path else AdapterSource(Path(text)))
        except ValueError:
            sources.append(AdapterSource(Path(text)))
    return sources


def compare_export(
    export: Path,
    base: Path,
    sources: Sequence[AdapterSource],
    prompts: Path | None,
    progress: Progress,
    engine_base: Path | None = None,
) -> Parity:
    """The proof of an export, written beside it."""
    from edge_converters.parity import check_parity, write_report

    report = check_parity(
        export, base=base, adapters=sources, prompts=prompts, engine_base=engine_base, progress=progress
    )
    write_report(report, export)
    return report


def _show(export: Export, parity: Parity | None, as_json: bool) -> None:
    """What was made and whether it holds. Where it does not, the export gets a loud name and ParityError is raised."""
    from edge_tui.cli.output import plain, print_json, size, status

    out = Path(export.path)
    failure = None
    if parity is not None and not parity.passed:
        failure = parity_failure(parity, set_aside(out))
    if as_json:
        print_json({"export": plain(export), "parity": plain(parity)})
    elif parity is not None:
        print_parity(parity)
    if failure is not None:
        raise failure
    status(f"{export.path}: {size(export.bytes)} in {export.seconds:.0f} s")
    if not as_json:
        click.echo(export.path)


def set_aside(out: Path) -> Path:
    """Give an export that failed, and what belongs to it, a name that nobody takes for a good one."""
    from edge_converters.output import beside

    failed = out.with_name(f"{out.stem}.failed{out.suffix}")
    for path, name in [(out, failed), *((beside(out, what), beside(failed, what)) for what in ("manifest", "parity"))]:
        if name.is_dir():
            import shutil

            shutil.rmtree(name)
        if path.exists():
            path.replace(name)
    return failed


def parity_failure(parity: Parity, where: Path) -> Exception:
    from edge.errors import ParityError

    failed = parity.failed()
    return ParityError(
        f"PARITY FAILED ({', '.join(check.name for check in failed)}): {failed[0].meaning}; "
        f"do not use {where}, and see {where.name}'s parity report for every figure"
    )


def print_parity(parity: Parity) -> None:
    """Every check as a table."""
    from edge_tui.cli.output import print_table

    print_table(("CHECK", "", "VALUE", "LIMIT", "MEANING"), parity.table())
    for note in parity.notes:
        click.echo(note)


def _show_plan(
    kind: str, base: Path, sources: Sequence[AdapterSource], out: Path, precision: str | None, as_json: bool
) -> None:
    from edge_converters.estimate import plan
    from edge_tui.cli.output import print_json, size

    needs = plan(kind, base, out, adapters=sources, precision=precision)
    if as_json:
        print_json(needs)
        return
    for applied in needs.applied:
        click.echo(f"adapter   {applied}")
    click.echo(f"weights   {needs.parameters:,} parameters")
    click.echo(f"output    {size(needs.output_bytes)}")
    click.echo(f"disk      {size(needs.disk_bytes)} while it works, {size(needs.free_bytes)} free")
    click.echo(f"memory    {size(needs.memory_bytes)}, {size(needs.available_bytes)} available")
    click.echo(f"time      roughly {needs.seconds:.0f} s on this machine, without the parity check")
