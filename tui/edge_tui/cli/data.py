"""`edge data`: is it fit to train on, in one format, and parted for a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_tui.cli.options import ANY_PATH, output_option, replace_option
from edge_tui.click_types import Choice, Group

if TYPE_CHECKING:
    from edge_converters.data.base_model import BaseModelInfo

_FORMATS = ("chat", "prompt-completion", "conversations", "alpaca", "pairs", "text")

_files = click.argument("files", nargs=-1, required=True, type=ANY_PATH, metavar="FILE…")
_format = click.option("--format", type=Choice(_FORMATS), help="What the files are, where it is guessed wrong.")
_base = click.option(
    "--base", metavar="MODEL", help="The model to tune: a folder, a GGUF file or a name (edge models list)."
)
_skip = click.option("--skip-broken", is_flag=True, help="Leave out what cannot be used, and say so.")
_replace = replace_option("Replace files that are there already.", old=["--force"])
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(cls=Group)
def data() -> None:
    """Check, convert and split examples to train on.

    \b
    Formats, told by their first record:
      chat               {"messages": [{"role": …, "content": …}, …]}: OpenAI, Azure, edge chats export
      prompt-completion  {"prompt": …, "completion": …}, also with lists of messages
      conversations      {"conversations": [{"from": "human", "value": …}, …]}: ShareGPT
      alpaca             {"instruction": …, "input": …, "output": …}
      text               {"text": …}: AutoTrain; --base MODEL splits it by that model's template
      pairs              two columns such as question and answer
    JSON lines, JSON arrays, CSV and TSV.
    """


@data.command(epilog="Example: edge data check train.jsonl --test test.jsonl --base phi-3-mini --context 2048")
@_files
@click.option("--test", multiple=True, type=ANY_PATH, metavar="FILE", help="Examples for the test; repeatable.")
@_base
@click.option("--context", type=click.IntRange(16), metavar="N", help="Tokens of the longest example.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), metavar="N", help="Times through them (default 3).")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Examples a step (default 8).")
@click.option("--rank", type=click.IntRange(1), metavar="N", help="Rank of the LoRA (default 16).")
@_format
@click.option("--all", "everything", is_flag=True, help="List every finding, not five of a kind.")
@_json
def check(
    files: tuple[Path, ...],
    test: tuple[Path, ...],
    base: str | None,
    context: int | None,
    epochs: float | None,
    batch: int | None,
    rank: int | None,
    format: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Look for everything that makes tuning fail, by file and line; exit code 1 when there are errors.

    With --base also: tokens, examples that are too long, what that model's chat template does with them, and what
    training will take on this machine.
    """
    from edge_converters.data.check import check_examples
    from edge_tui.cli.output import print_json, stages, to_jsonable
    from edge_tui.cli.reports.data_report import print_check

    opened = _opened(base)
    with stages() as show:
        found = check_examples(
            files,
            test=test,
            format=format,
            base=opened,
            context=context,
            epochs=epochs,
            batch=batch,
            rank=rank,
            progress=show,
        )
    if as_json:
        print_json(to_jsonable(found) | {"passed": found.passed})
    else:
        print_check(found, everything)
    if not found.passed:
        raise click.exceptions.Exit(1)


@data.command(epilog="Example: edge data convert faq.csv old.json -o train.jsonl")
@_files
@output_option("OUT.jsonl", "What to write.")
@click.option("--to", default="chat", type=Choice(["chat", "prompt-completion", "alpaca"]), help="Its format (chat).")
@_base
@_format
@_skip
@_replace
@_json
def convert(
    files: tuple[Path, ...],
    output: Path,
    to: str,
    base: str | None,
    format: str | None,
    skip_broken: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Write examples of all formats as JSON lines of one."""
    from edge_converters.data.writer import convert_examples
    from edge_tui.cli.output import print_json
    from edge_tui.cli.reports.data_report import print_files, warn_of
    from edge_tui.rendering.units import short_path

    opened = _opened(base)
    done = convert_examples(
        files,
        output,
        to=to,
        format=format,
        template=None if opened is None else opened.template,
        skip_broken=skip_broken,
        force=replace,
    )
    if as_json:
        print_json(done)
        return
    warn_of(done.left_out)
    print_files(done.files)
    click.echo(f"{done.examples:,} examples written as {done.format}: {short_path(done.path)}")


@data.command(epilog="Example: edge data split all.jsonl -o data/ --test 0.1")
@_files
@output_option("DIR", "Where train.jsonl and test.jsonl go.")
@click.option("--test", default=0.1, metavar="SHARE", help="How much is for the test (default 0.1).")
@click.option("--seed", default=7, metavar="N", help="Another number, other examples in the test (default 7).")
@_base
@_format
@_skip
@_replace
@_json
def split(
    files: tuple[Path, ...],
    output: Path,
    test: float,
    seed: int,
    base: str | None,
    format: str | None,
    skip_broken: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Part examples into train.jsonl and test.jsonl.

    Examples that ask the same and those that are nearly the same stay on one side, so that the test shows skill and
    not memory. The same examples and seed give the same parts.
    """
    from edge_converters.data.writer import split_examples
    from edge_tui.cli.output import print_json
    from edge_tui.cli.reports.data_report import print_split, warn_of

    opened = _opened(base)
    done = split_examples(
        files,
        output,
        test=test,
        seed=seed,
        format=format,
        template=None if opened is None else opened.template,
        skip_broken=skip_broken,
        force=replace,
    )
    if as_json:
        print_json(done)
        return
    warn_of(done.left_out)
    print_split(done, test)


@data.command(epilog="Example: edge data ground questions.jsonl --docs manuals/ -o train.jsonl")
@click.argument("questions", type=ANY_PATH)
@click.option("--docs", multiple=True, type=ANY_PATH, metavar="PATH", help="A file or folder to answer from.")
@click.option("--index", metavar="DIR", help="An index to answer from: a folder, or the name of one.")
@output_option("OUT.jsonl", "What to write.")
@click.option("-k", type=click.IntRange(1, 100), metavar="N", help="Passages to look at (default 5).")
@click.option("-s", "--system", metavar="TEXT", help="What the model is told before everything else.")
@_base
@_replace
@_json
def ground(
    questions: Path,
    docs: tuple[Path, ...],
    output: Path,
    base: str | None,
    replace: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Write questions with their passages, as the model will read them: to tune one that answers from documents.

    QUESTIONS is a file as `edge compare` reads it; each question needs `answers` or a `reference`. A question that
    names its `document` and the place of its answer gets that passage, also where search misses it; one with
    "answers": [] learns to say that the documents do not tell. Small models are pointed at the best sentence; --base
    says whether the one to tune is small (without it, it is taken for one).
    """
    from contextlib import ExitStack

    from edge.evaluation.rag_examples import ground as grounded
    from edge.evaluation.run import read_questions
    from edge.types import RagOptions
    from edge_converters.data.writer import write_chat
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.options import settings
    from edge_tui.cli.output import print_json
    from edge_tui.rendering.units import short_path

    if bool(docs) == bool(options["index"]):
        raise click.UsageError("give --docs or --index, one of them")
    wanted, opened = settings(**options), _opened(base)
    asked = read_questions(questions)
    with ExitStack() as stack:
        index = resources.named_index(docs, wanted, stack)
        assert index is not None, "documents or an index were named"
        made = list(
            grounded(
                asked,
                index,
                system=wanted.system,
                rag=RagOptions(k=wanted.k, prompt_passages=wanted.prompt_passages),
                parameters=None if opened is None or opened.shapes is None else opened.shapes.parameters,
            )
        )
    write_chat((example.messages for example in made), output, force=replace)
    given, without = sum(example.given for example in made), len(asked) - len(made)
    if as_json:
        print_json({"path": output, "examples": len(made), "given": given, "without_reply": without})
        return
    click.echo(f"{len(made):,} examples with their passages: {short_path(str(output))}")
    if given:
        click.echo(f"{given:,} of the passages were named by the questions, for search missed them")
    if without:
        click.echo(f"{without:,} questions have no reply to learn and were left out")


def _opened(base: str | None) -> BaseModelInfo | None:
    """A model's vocabulary and sizes, by path or library name."""
    if base is None:
        return None
    from edge import library
    from edge_converters.data.base_model import open_base_model

    path = Path(base).expanduser()
    return open_base_model(path if path.exists() else Path(library.find_entry(base).path))
