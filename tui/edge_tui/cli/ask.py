"""`edge ask`: one question, the documents' own sentences at once, the model's words below them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tui.cli.options import Request, answering
from edge_tui.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from edge.answer import Answer, Delta
    from edge.chat import Chat
    from edge.types import Sampling
    from edge_index import Index
    from edge_tui.rendering.sources import Source


UNANSWERABLE = 4
"""The exit code of `--exit-code`."""


@click.command(
    epilog='Examples: edge ask "When is the pump due?" --docs manuals/ · cat report.md | edge ask "Who wrote it?"'
)
@click.argument("question", required=False)
@answering
@click.option("--exit-code", is_flag=True, help="End with exit code 4 where the documents do not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as one JSON object.")
def ask(question: str | None, exit_code: bool, as_json: bool, **options: Any) -> int:
    """Answer QUESTION, or what stands on standard input, from your documents.

    First come the sentences of the documents that answer best, then the words of the model, then what each
    of its sentences stands on. With --docs the documents are read on the way; a second time only what has
    changed. Without --docs and --index the index called default is used, if there is one.

    Beside a QUESTION, what is piped in is the document, if neither --docs nor --index is given; --docs - asks for it.
    Nothing of it is kept.

    Exit codes: 0 answered, 1 an error, 2 wrong usage, 130 interrupted; with --exit-code also 4: the documents do not
    tell, or there are none.
    """
    from contextlib import ExitStack

    from edge.chat import Chat
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.output import warn
    from edge_tui.session.openers import in_background

    piped = question is not None and not options["docs"] and not options["index"]
    question = _question(question, options["docs"])
    request = Request.of(**options)
    load = resources.model_loader(request)
    for note in (*resources.context_notes(request), *request.sampling_notes()):
        warn(note)
    with ExitStack() as stack:
        model = in_background(load)
        stack.callback(resources.close_loaded, model)
        index = _knowledge(request, stack, piped)
        chat = Chat(
            model,
            knowledge=index,
            system=request.settings.system,
            adapter=resources.adapter_name(request),
            rag=request.rag_options(),
            think=request.settings.think,
        )
        if as_json:
            answer = chat.ask(question, sampling=request.sampling())
            _print_json(question, answer)
        else:
            answer = _print_stream(chat, question, request.sampling())
    return UNANSWERABLE if exit_code and not _is_answered(answer) else 0


def _is_answered(answer: Answer) -> bool:
    """Whether it was answered from documents: the model read some, and does not say that they are silent."""
    from edge.rag.abstention import abstains

    return bool(answer.passages) and not abstains(answer.text)


def _question(argument: str | None, docs: Sequence[Path]) -> str:
    from edge_tui.cli.inputs import standard_input

    question = argument
    if question is None and standard_input.HERE not in docs:
        question = standard_input.read_question()
    if question is None or not question.strip():
        raise click.UsageError('there is no question; try: edge ask "What is this about?" --docs FOLDER')
    return question.strip()


def _knowledge(request: Request, stack: ExitStack, piped: bool) -> Index | None:
    """The open index to answer from; its documents are up to date when they came by --docs.

    `piped`: standard input may hold the document.
    """
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.inputs.standard_input import HERE
    from edge_tui.cli.output import status

    demanded = HERE in request.docs
    if demanded or piped:
        index = _piped(request, stack, demanded)
        if index is not None:
            return index
    if request.docs:
        path = resources.docs_index(request.docs, request.settings)
        index = stack.enter_context(resources.filling(path, request.settings))
        report = resources.add_documents(index, request.docs)
        if not index.documents():
            raise resources.nothing_to_read(request.docs, report)
        return index
    chosen = resources.chosen_index(request.settings)
    if chosen is not None:
        index = resources.open_index(chosen, request.settings)
        stack.callback(index.close)
        if request.settings.index or index.documents():
            status(f"Answering from the index {chosen.name}.")
            return index
    status("No documents: only the model answers. Give it some with --docs FOLDER.")
    return None


def _piped(request: Request, stack: ExitStack, demanded: bool) -> Index | None:
    """An index for this one question, of what is piped in and of what else --docs names; None where nothing is."""
    from tempfile import TemporaryDirectory

    from edge_tui.cli.inputs import resources, standard_input
    from edge_tui.cli.output import status

    folder = Path(stack.enter_context(TemporaryDirectory(prefix="edge-", ignore_cleanup_errors=True)))
    document = standard_input.save_document(folder, demanded=demanded)
    if document is None:
        return None
    index = stack.enter_context(resources.filling(folder / "index", request.settings))
    standard_input.add_document(index, document)
    others = [path for path in request.docs if path != standard_input.HERE]
    if others:
        resources.add_documents(index, others)
    if not others:
        status(f"Answering from what came on {standard_input.NAME}.")
    return index


def _print_json(question: str, answer: Answer) -> None:
    from edge_tui.cli.output import print_json, to_jsonable

    print_json({"question": question} | to_jsonable(answer))


def _print_stream(chat: Chat, question: str, sampling: Sampling) -> Answer:
    """Evidence, words, sources: each as soon as it is known."""
    from edge_tui.cli.output import passing, status
    from edge_tui.rendering.answer import notes, number_sources
    from edge_tui.session.events import FurtherPassages

    sources: tuple[Source, ...] = ()
    spoken = False
    thoughts = _Thoughts()
    delta = None
    with passing() as show:
        for delta in chat.stream(question, sampling=sampling):
            if delta.evidence:
                sources = number_sources(delta.evidence)
                _print_sources("Nearest in your documents", sources)
            if delta.further_passages is not None:
                show(None)
                thoughts.end()
                status(str(FurtherPassages(delta.further_passages)))
            if delta.thinking and chat.think:
                show(None)
                thoughts.write(delta.thinking)
                continue
            if not delta.text:
                show(_stage(delta))
                continue
            if not spoken:
                show(None)
                thoughts.end()
                click.secho("Answer", bold=True)
            spoken = True
            click.echo(printable(delta.text), nl=False)
    thoughts.end()
    click.echo("\n")
    answer = delta.answer if delta is not None else None
    assert answer is not None, "a stream that is not closed ends with its answer"
    if chat.knowledge is not None and answer.passages:
        _print_support(answer, sources)
    for note in notes(answer, mark_own=False):
        status(note)
    return answer


def _stage(delta: Delta) -> str | None:
    if delta.prefill is not None:
        return f"reading {delta.prefill.done}/{delta.prefill.total} tokens …"
    if delta.thinking:
        return "thinking …"
    return "loading the model …" if delta.evidence is not None else None


class _Thoughts:
    """What a model thinks, on standard error: it is no part of the answer."""

    def __init__(self) -> None:
        self._begun = False

    def write(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            click.secho("Thinking", err=True, bold=True)
        click.secho(printable(text), nl=False, err=True, dim=True)

    def end(self) -> None:
        if self._begun:
            self._begun = False
            click.echo("\n", err=True)


def _print_support(answer: Answer, known: tuple[Source, ...]) -> None:
    """Which sentence stands on which source, and which are the model's own."""
    from edge_tui.rendering.answer import OWN, OWN_LEGEND, number_sources
    from edge_tui.rendering.sentence_marks import checked

    sources = number_sources(answer.citations, known)
    sentences = checked(answer, sources)
    click.secho("Checked against the documents", bold=True)
    for each in sentences:
        marks = " ".join(f"[{number}]" for number in each.numbers)
        click.echo(f"  {marks or f' {OWN} '} {each.text}")
    if answer.unsupported:
        click.secho(f"  {OWN_LEGEND}", dim=True)
    click.echo()
    cited = {number for each in sentences for number in each.numbers}
    _print_sources("Sources", [source for source in sources if source.number in cited])


def _print_sources(title: str, sources: Sequence[Source]) -> None:
    from edge_tui.rendering.sentence_marks import one_line
    from edge_tui.rendering.units import short_path

    if not sources:
        return
    click.secho(title, bold=True)
    for source in sources:
        click.echo(f"  [{source.number}] “{one_line(source.quote)}”")
        click.secho(f"      {short_path(source.document)} · {source.place}", fg="cyan")
    click.echo()
