"""`edge compare`: the same questions to every variant, what each costs, and which of them was worth it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tui.cli.options import ANY_PATH, Request, answering, output_option
from edge_tui.click_types import Option

if TYPE_CHECKING:
    from edge.evaluation.records import Question
    from edge.evaluation.run import Comparison, Progress


@click.command(epilog="Example: edge compare questions.jsonl -m phi3 --docs manuals/ --html report.html")
@click.argument("questions", type=ANY_PATH)
@answering
@click.option(
    "--examples",
    type=ANY_PATH,
    metavar="FILE",
    help="Questions with right replies, to show few-shot.",
)
@click.option("--shots", type=click.IntRange(1, 50), default=4, show_default=True, help="Examples for each question.")
@click.option(
    "--variants",
    cls=Option,
    old=["--ways"],
    metavar="A,B",
    help="Of base, few-shot, rag, tuned, rag+tuned, oracle (default: all possible).",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask N of the questions, drawn once and for all.")
@click.option("--no-skills", is_flag=True, help="Leave out the forty general questions to base and tuned model.")
@click.option("--keep", type=ANY_PATH, metavar="FILE", help="Where answers are kept as they come.")
@output_option("FILE", "Write the comparison as JSON, for edge advise.", required=False)
@click.option("--html", type=ANY_PATH, metavar="FILE", help="Write a report with plots and all answers side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole comparison as one JSON object.")
def compare(questions: Path, output: Path | None, html: Path | None, as_json: bool, **options: Any) -> None:
    """Ask the QUESTIONS of a JSON Lines file to every variant, and say what the differences are worth.

    \b
    A line is {"question": "…", "answers": ["…"]}, with "answers": [] where the documents do not tell, and
    perhaps "document", "passages", "reference" (a whole reply) and "form" (a regular expression or JSON schema);
    or a chat: {"messages": […]}.

    Without --docs and --index nothing is answered from documents, without --adapter nothing by a tuned model.
    Answers are kept as they come: after Ctrl-C or a kill the same command goes on.
    """
    from edge.evaluation.run import to_json
    from edge_tui.cli.output import status
    from edge_tui.cli.reports.compare_table import print_comparison

    file = output or _place(questions, ".json")
    comparison = _compared(questions, options)
    _write(file, to_json(comparison) + "\n")
    if html is not None:
        from edge_tui.cli.reports.comparison_report import report

        _write(html, report(comparison))
    if as_json:
        click.echo(to_json(comparison))
    else:
        print_comparison(comparison)
    where = f"edge advise {file}" if output else "edge advise"
    status(f"The report: {html}." if html else "--html FILE writes a report with all answers side by side.")
    status(f"What to do next: {where}")
    if not comparison.complete:
        click.get_current_context().exit(130)


def _compared(questions: Path, options: dict[str, Any]) -> Comparison:
    """Everything opened, asked and closed again."""
    from edge.evaluation.run import compare as run
    from edge.evaluation.run import read_questions, sample
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.output import warn

    shots, variants, limit = options.pop("shots"), options.pop("variants"), options.pop("limit")
    examples, skills, keep = options.pop("examples"), not options.pop("no_skills"), options.pop("keep")
    asked = read_questions(questions)
    asked = sample(asked, limit) if limit else asked
    shown: list[Question] = read_questions(examples) if examples else []
    request = Request.of(**options)
    load = resources.model_loader(request)
    for note in resources.context_notes(request):
        warn(note)
    with ExitStack() as stack:
        index = resources.named_index(request.docs, request.settings, stack)
        model = stack.enter_context(load())
        show = stack.enter_context(_progress())
        return run(
            model,
            asked,
            adapter=resources.adapter_name(request),
            knowledge=index,
            examples=shown,
            variants=None
            if variants is None
            else [variant.strip() for variant in variants.split(",") if variant.strip()],
            shots=shots,
            encoder=None if index is not None else _encoder(request, bool(shown)),
            system=request.settings.system,
            sampling=request.sampling(),
            rag=request.rag_options(),
            think=request.settings.think,
            skills=skills,
            keep=keep or _place(questions, ".answers.jsonl"),
            progress=show,
        )


def _encoder(request: Request, wanted: bool) -> Any:
    """What finds the nearest examples; words do where there is none."""
    from edge.errors import EdgeError
    from edge_tui.cli.inputs import resources

    if not wanted:
        return None
    try:
        return resources.open_encoder(request.settings)
    except EdgeError:
        return None


def _place(questions: Path, ending: str) -> Path:
    """Where what belongs to a file of questions is kept when nothing else was said."""
    from edge.system import paths

    name = hashlib.sha256(str(questions.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return paths.comparisons_dir() / f"{questions.stem}-{name}{ending}"


def _write(file: Path, text: str) -> None:
    """Whole or not at all: a report that was cut would look like one."""
    from edge.errors import StorageError
    from edge.system.paths import ensure_dir

    ensure_dir(file.parent)
    beside = file.with_name(file.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8", errors="replace")
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{file} cannot be written: {error.strerror}; name another file") from error


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Says once how long it will take, as soon as that is known; on a terminal with a bar."""
    from edge_tui.cli.output import progress_bar, status

    said_resumed = said_time = False
    with progress_bar(remaining=False) as bar:
        task = bar.add_task("answers", total=None) if bar is not None else None

        def show(now: Progress) -> None:
            nonlocal said_resumed, said_time
            say = status if bar is None else (lambda sentence: bar.console.print(sentence, style="dim"))
            if now.kept and not said_resumed and now.variant:
                said_resumed = True
                say("Answers of an earlier run are kept and not asked for again.")
            if now.seconds_left and not said_time:
                said_time = True
                left = f"about {duration(now.seconds_left)} for {now.total - now.done:,} more answers"
                say(f"By the first answers it takes {left}. Ctrl-C stops; what was answered is kept.")
            if bar is not None and task is not None:
                left = f" · {duration(now.seconds_left)} left" if now.seconds_left else ""
                bar.update(task, total=now.total, completed=now.done, description=f"{now.variant or 'done'}{left}")

        yield show


def duration(seconds: float) -> str:
    """For people: 42 -> "42 seconds", 600 -> "10 minutes"."""
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        return f"{round(seconds)} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
