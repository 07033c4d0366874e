"""`edge convert`: base models and LoRAs into files that an engine runs, each with the proof that it still says
what the original says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.errors import ParityError
from edge_tui.cli.options import ANY_PATH, output_option
from edge_tui.click_types import Choice, Group, Option

if TYPE_CHECKING:
    from edge_converters.onnx.export import Precision, Provider
    from edge_converters.types import AdapterSource, Export, Parity, Progress

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
    with conversion(_print_json if as_json else print_proof) as show:
        export = merge_weights(base, sources, output, progress=show)
    _show(export, as_json)


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

    sources, precision = _sources(adapters), quantisation.lower()
    if dry_run:
        _show_plan("gguf", base, sources, output, precision, as_json)
        return
    with conversion(_print_json if as_json else print_proof) as show:
        export = to_gguf(
            base, output, adapters=sources, precision=precision, imatrix=imatrix, converter=converter,
            verify=not no_verify, prompts=prompts, progress=show,
        )  # fmt: skip
    _show(export, as_json)


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

    sources = _sources(adapters)
    if dry_run:
        _show_plan("onnx", base, sources, output, precision, as_json)
        return
    with conversion(_print_json if as_json else print_proof) as show:
        export = to_onnx(
            base, output, adapters=sources, precision=precision, provider=provider,
            verify=not no_verify, prompts=prompts, progress=show,
        )  # fmt: skip
    _show(export, as_json)


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
    from edge_converters.types import AdapterSource

    if dry_run:
        kind = "onnx" if base_output else "adapter"
        _show_plan(kind, base, [AdapterSource(lora)], output, precision or "int4", as_json)
        return
    with conversion(_print_json if as_json else print_proof) as show:
        export = to_adapter(
            lora, output, base=base, base_out=base_output, precision=precision,
            verify=not no_verify, prompts=prompts, progress=show,
        )  # fmt: skip
    _show(export, as_json)


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
    _show(export, as_json)


@convert.command(epilog="Example: edge convert parity mine.gguf --base phi-3-mini --adapter my-lora")
@click.argument("export", type=ANY_PATH)
@click.option("--base", required=True, type=ANY_PATH, metavar="DIR", help="The original base model's folder.")
@click.option(
    "--exported-base",
    cls=Option,
    old=["--engine-base"],
    type=ANY_PATH,
    metavar="PATH",
    help="For a LoRA: the converted base that it runs on.",
)
@_options(_ADAPTERS, _PROMPTS, _JSON)
def parity(
    export: Path,
    base: Path,
    exported_base: Path | None,
    adapters: tuple[str, ...],
    prompts: Path | None,
    as_json: bool,
) -> None:
    """Compare an export with its original: tokens, template, probabilities, adapter effect, weights."""
    from edge_converters.verify import parity_error, prove
    from edge_tui.cli.output import print_json, stages

    with stages() as show:
        found = prove(
            export, base=base, adapters=_sources(adapters), prompts=prompts, exported_base=exported_base, progress=show
        )
    if as_json:
        print_json(found)
    else:
        _print_parity(found)
    if not found.passed:
        raise parity_error(found, export)


def _sources(adapters: Sequence[str]) -> list[AdapterSource]:
    """PATH or PATH=WEIGHT, each."""
    from edge_converters.types import AdapterSource

    sources = []
    for text in adapters:
        path, _, weight = text.rpartition("=")
        try:
            sources.append(AdapterSource(Path(path), float(weight)) if path else AdapterSource(Path(text)))
        except ValueError:
            sources.append(AdapterSource(Path(text)))
    return sources


@contextmanager
def conversion(print_refused: Callable[[Export], None]) -> Iterator[Progress]:
    """Bars for the stages of a conversion. Of one that is refused `print_refused` prints the proof before ParityError
    goes on.
    """
    from edge_tui.cli.output import stages

    try:
        with stages() as show:
            yield show
    except ParityError as error:
        print_refused(error.export)
        raise


def as_fields(export: Export) -> dict[str, Any]:
    """For JSON: the export and its proof, side by side."""
    from edge_tui.cli.output import to_jsonable

    fields = to_jsonable(export)
    parity = fields.pop("parity")
    return {"export": fields, "parity": parity}


def print_proof(export: Export) -> None:
    """The proof of an export, where it has one, as a table."""
    if export.parity is not None:
        _print_parity(export.parity)


def _print_json(export: Export) -> None:
    from edge_tui.cli.output import print_json

    print_json(as_fields(export))


def _show(export: Export, as_json: bool) -> None:
    from edge_tui.cli.output import status
    from edge_tui.rendering.units import format_size

    (_print_json if as_json else print_proof)(export)
    status(f"{export.path}: {format_size(export.bytes)} in {export.seconds:.0f} s")
    if not as_json:
        click.echo(export.path)


def _print_parity(parity: Parity) -> None:
    """Every check as a table."""
    from edge_tui.cli.output import print_table

    print_table(("CHECK", "", "VALUE", "LIMIT", "MEANING"), parity.table())
    for note in parity.notes:
        click.echo(note)


def _show_plan(
    kind: str, base: Path, sources: Sequence[AdapterSource], out: Path, precision: str | None, as_json: bool
) -> None:
    from edge_converters.estimate import estimate_conversion
    from edge_tui.cli.output import print_json
    from edge_tui.rendering.units import format_size

    needs = estimate_conversion(kind, base, out, adapters=sources, precision=precision)
    if as_json:
        print_json(needs)
        return
    for applied in needs.applied:
        click.echo(f"adapter   {applied}")
    click.echo(f"weights   {needs.parameters:,} parameters")
    click.echo(f"output    {format_size(needs.output_bytes)}")
    click.echo(f"disk      {format_size(needs.disk_bytes)} while it works, {format_size(needs.free_bytes)} free")
    click.echo(f"memory    {format_size(needs.memory_bytes)}, {format_size(needs.available_bytes)} available")
    click.echo(f"time      roughly {needs.seconds:.0f} s on this machine, without the parity check")
