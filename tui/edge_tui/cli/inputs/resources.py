"""Puts the pieces together: which model, which index and which encoder a command works with."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge import library
from edge.errors import EncoderError, KnowledgeError, StorageError, UsageError
from edge.log import logger
from edge.system import paths
from edge.system.suggestions import did_you_mean

if TYPE_CHECKING:
    from edge.model import Model
    from edge.rag.answerability import Case
    from edge.settings import Settings
    from edge_index import Index
    from edge_index.encoders.encoder import Encoder
    from edge_index.records import AddProgress, AddReport
    from edge_tui.cli.options import Request
    from edge_tui.session.openers import Openers

DEFAULT_INDEX = "default"
_logger = logger("cli.opening")


def model_loader(request: Request) -> Callable[[], Model]:
    """What loads the model, its adapter included; whether there are such a model and adapter is known at once."""
    wanted = request.settings
    path = library.find_model(wanted.model, engine=wanted.engine)
    adapter = library.find_adapter(request.adapter) if request.adapter else None
    gpu_layers = _gpu_layers(wanted.gpu_layers)

    def load() -> Model:
        import edge
        import edge_converters  # noqa: F401 - registers what converts PEFT folders

        _logger.info("model %s, adapter %s, context %s", path, adapter, wanted.context)

        model = edge.load(
            path,
            context=wanted.context,
            threads=wanted.threads,
            gpu_layers=gpu_layers,
            kv_type=wanted.kv_type,
            kv_budget=wanted.kv_budget,
            provider=wanted.provider,
            force=request.force,
        )
        if adapter is not None:
            model.add_adapter(adapter, scale=request.scale)
        return model

    return load


def openers(request: Request) -> Openers:
    """How a chat opens what it switches to: with the settings it was started with, but for the engine, which the
    model's format decides."""
    from edge_tui.session.openers import Openers

    def model(wanted: str) -> tuple[Path, Callable[[], Model]]:
        path = library.find_model(wanted)
        settings = replace(request.settings, model=str(path.absolute()), engine=None)
        return path, model_loader(replace(request, adapter=None, settings=settings))

    def index(wanted: str) -> Index:
        path = library.find_index(wanted)
        if wanted != DEFAULT_INDEX:
            require_index(path, wanted)
        opened = open_index(path, request.settings, create=True)
        try:
            opened.encoder  # noqa: B018 - raises EncoderError now rather than at the first question
        except EncoderError:
            opened.close()
            raise
        return opened

    return Openers(model, index, request.adapter)


def context_notes(request: Request) -> list[str]:
    """What is to be known of a context that was asked for by number, in sentences."""
    from edge.engines.limits import limits_of

    wanted = request.settings
    if wanted.context is None:
        return []
    path = library.find_model(wanted.model, engine=wanted.engine)
    return limits_of(path).notes(wanted.context)


def adapter_name(request: Request) -> str | None:
    return library.adapter_name(library.find_adapter(request.adapter)) if request.adapter else None


def _gpu_layers(value: str | None) -> int | Literal["all", "auto"] | None:
    if value is not None and value.isdecimal():
        return int(value)
    known: dict[str | None, Literal["all", "auto"]] = {"all": "all", "auto": "auto"}
    return known.get(value)


def close_loaded(model: Future[Model]) -> None:
    """Free a model; one that is still loading, or could not be loaded, is left alone."""
    if model.done() and model.exception() is None:
        model.result().close()


def open_index(
    path: Path, settings: Settings, *, create: bool = False, encoder: bool = True, later: bool = False
) -> Index:
    """The index at `path`, with `create` a new one if there is none.

    `encoder` is needed to add and search; with `later` it is loaded when it really is.
    """
    from edge_index import Index

    _logger.info("index %s", path)
    if later:
        return Index.open(path, encoder=lambda: open_encoder(settings), create=create)
    return Index.open(path, encoder=open_encoder(settings) if encoder else None, create=create)


@contextmanager
def filling(path: Path, settings: Settings) -> Iterator[Index]:
    """An index to add documents to; one that was made for this and stayed empty is removed again."""
    from edge_index.storage.discard import discard_empty

    fresh = not path.exists()
    index = open_index(path, settings, create=True, later=True)
    try:
        yield index
    finally:
        index.close()
        if fresh:
            discard_empty(path)


def open_encoder(settings: Settings) -> Encoder:
    """The text encoder of the settings; converted into the cache when it is used for the first time."""
    from edge_index.encoders.encoder import Encoder

    directory = library.find_encoder(settings.encoder)
    _logger.info("text encoder %s", directory)
    return Encoder.open(directory, threads=settings.threads, cache=paths.cache_dir() / "encoders")


def docs_index(docs: Sequence[Path], settings: Settings) -> Path:
    """Where the index of `--docs` lies: the same documents and the same encoder's weights find it again.

    Raises StorageError for a path that does not exist.
    """
    from edge_converters.encoder.export import VERSION
    from edge_index.storage.schema import FORMAT

    for path in docs:
        if not path.exists():
            raise StorageError(f"{path} does not exist; give a file or folder with documents")
    encoder = library.find_encoder(settings.encoder).resolve()
    weights = [(file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(encoder.rglob("*.safetensors"))]
    key = "\0".join([str(encoder), f"{weights} {VERSION} {FORMAT}", *sorted({str(path.resolve()) for path in docs})])
    return paths.cache_dir() / "docs" / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def chosen_index(settings: Settings) -> Path | None:
    """The index of the settings, or the default one if it has been made."""
    path = library.find_index(settings.index or DEFAULT_INDEX)
    if settings.index:
        require_index(path, settings.index)
    return path if path.exists() else None


def named_index(docs: Sequence[Path], settings: Settings, stack: ExitStack) -> Index | None:
    """The index that was named, or that of documents that were named, until `stack` ends; None where neither was.

    What is measured or written into examples should not depend on an index that merely lies around.
    """
    if docs:
        index = stack.enter_context(filling(docs_index(docs, settings), settings))
        report = add_documents(index, docs)
        if not index.documents():
            raise nothing_to_read(docs, report)
        return index
    if settings.index is None:
        return None
    chosen = chosen_index(settings)
    assert chosen is not None, "an index was named, or chosen_index raises"
    index = open_index(chosen, settings)
    stack.callback(index.close)
    return index


def cases(questions: Path, settings: Settings) -> list[Case]:
    """Questions of a file, with what an index finds for them. Raises UsageError for a line that is none."""
    from edge.rag.answerability import Case

    found = []
    path = chosen_index(settings)
    assert path is not None, "an index was named, or chosen_index raises"
    index = open_index(path, settings)
    try:
        for number, line in enumerate(questions.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                question, answerable = str(row["question"]), bool(row["answerable"])
            except (ValueError, TypeError, KeyError) as error:
                wanted = '{"question": "…", "answerable": true}'
                raise UsageError(f"{questions}, line {number} is not of the form {wanted}") from error
            passages = index.search(question, settings.k)
            evidence = index.evidence(question, passages)
            if passages:
                read = tuple(passages[: settings.prompt_passages or 1])
                found.append(Case(question, read, tuple(evidence), answerable))
    finally:
        index.close()
    return found


def require_index(path: Path, name: str) -> None:
    if not path.exists():
        made = f"edge index add FOLDER --index {name}"
        meant = did_you_mean(name, [entry.name for entry in library.indexes()])
        raise KnowledgeError(f"there is no index {name!r} ({path} does not exist){meant}; make it with: {made}")


def add_documents(index: Index, documents: Sequence[Path], *, offer_rebuild: bool = False, **options: Any) -> AddReport:
    """Add files and folders with a progress bar; what could not be read is told on standard error.

    `options` are those of `Index.add`. With `offer_rebuild` a person at a terminal is asked, where the index was made
    with another encoder, whether it is to be made afresh.
    """
    from edge_tui.cli.output import warn
    from edge_tui.rendering.add_report import format_failures

    try:
        with _progress("reading") as show:
            report = index.add(list(documents), progress=show, **options)
    except EncoderError:
        if not (offer_rebuild and _rebuild_if_wanted(index)):
            raise
        return add_documents(index, documents, **options)
    for sentence in format_failures(report.failed):
        warn(sentence)
    return report


def rebuild(index: Index, *, force: bool = False) -> AddReport:
    """Make an index afresh with a progress bar."""
    with _progress("encoding") as show:
        return index.rebuild(progress=show, force=force)


def _rebuild_if_wanted(index: Index) -> bool:
    from edge_tui.cli.output import status
    from edge_tui.rendering.add_report import format_outdated

    found = index.outdated()
    if found is None or not _at_a_terminal():
        return False
    status(format_outdated(found))
    if not click.confirm("Make it afresh now?", err=True):
        return False
    rebuild(index)
    return True


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[AddProgress], None]]:
    """What shows how far an index is."""
    from edge_tui.cli.output import progress_bar

    with progress_bar() as bar:
        task = bar.add_task(doing, total=None) if bar is not None else None

        def show(now: AddProgress) -> None:
            if bar is not None and task is not None:
                name = Path(now.path).name[:40] if now.path else "done"
                bar.update(task, total=now.total, completed=now.done, description=name)

        yield show


def nothing_to_read(documents: Sequence[Path], report: AddReport) -> KnowledgeError:
    """Why an index stayed empty, in a sentence."""
    where = " and ".join(map(str, documents))
    if report.failed:
        return KnowledgeError(f"nothing of {where} could be read; the reasons stand above")
    return KnowledgeError(f"there is no document in {where} that can be read; give a folder with documents")
