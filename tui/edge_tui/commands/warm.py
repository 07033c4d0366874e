"""`edge index warm`: what a model reads of every passage, computed beforehand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge.types import Passage
    from edge_index import Index


@click.command(epilog="Example: edge index warm --index pumps -m phi3")
@click.option("--index", metavar="DIR", help="A folder, or the name of an index (default: default).")
@click.option("-m", "--model", metavar="MODEL", help="Whose reading: a model by name or path.")
@click.option("-a", "--adapter", metavar="LORA", help="And under which LoRA, if under one.")
@click.option("--context", type=click.IntRange(16), metavar="N", help="As the questions will have it.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="As the questions will have it.")
@click.option("--kv-type", type=click.Choice(["f16", "q8_0", "q4_0"]), help="As the questions will have it.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N passages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def warm(adapter: str | None, limit: int | None, as_json: bool, **told: Any) -> None:
    """Let the model read every passage now, and keep what it has read on the disk.

    The first word of an answer then comes as soon as the question is read. Passages that earlier answers stood on come
    first, until all are read or the budget is used up (kv_budget in config.toml: gigabytes, 2 unless told). After
    Ctrl-C or a kill the same command goes on. Another model, adapter, context or KV type reads for itself.
    """
    from edge.chat import Chat
    from edge_tui.commands import opening
    from edge_tui.commands.options import Request
    from edge_tui.commands.output import print_json

    request = Request.of(docs=(), adapter=adapter, scale=None, force=False, **told)
    settings = request.settings
    path = opening.chosen_index(settings)
    with ExitStack() as stack:
        if path is None:
            opening.require_index(Path(opening.DEFAULT_INDEX), opening.DEFAULT_INDEX)
        assert path is not None, "require_index raises"
        index = opening.open_index(path, settings, encoder=False)
        stack.callback(index.close)
        passages = _wanted(index)[:limit]
        model = stack.enter_context(opening.model_loader(request)())
        chat = Chat(model, knowledge=index, system=settings.system, adapter=opening.adapter_name(request))
        done = _Warmed(chat, passages, int(settings.kv_budget * 1e9))
        done.run()
    if as_json:
        print_json(done.figures)
    else:
        click.echo(done.told())
    if done.stopped:
        click.get_current_context().exit(130)


class _Warmed:
    def __init__(self, chat: Chat, passages: Sequence[Passage], budget: int) -> None:
        self._chat = chat
        self._passages = passages
        self._budget = budget
        self._read = self._known = self._bytes = 0
        self._full = self.stopped = False

    def run(self) -> None:
        from edge_tui.commands.output import progress_bar, status, warn

        with progress_bar() as bar:
            task = bar.add_task("passages", total=len(self._passages)) if bar is not None else None
            try:
                for number, passage in enumerate(self._passages, 1):
                    if self._bytes * (1 + 1 / max(1, self._read)) > self._budget:  # one more would drive out the first
                        self._full = True
                        break
                    size = self._chat.warm(passage)
                    if size is None:
                        self._full = True
                        break
                    self._read += bool(size)
                    self._known += not size
                    self._bytes += size
                    if self._read == 1 and size:
                        (warn if size * len(self._passages) > self._budget else status)(self._cost(size))
                    if bar is not None and task is not None:
                        bar.update(task, completed=number)
            except KeyboardInterrupt:
                self.stopped = True

    def _cost(self, size: int) -> str:
        from edge_tui.commands.output import size as shown

        count = len(self._passages)
        return (
            f"A passage takes some {shown(size)}, all {count:,} of them {shown(size * count)}; the budget is "
            f"{shown(self._budget)} (kv_budget)."
        )

    @property
    def figures(self) -> dict[str, object]:
        return {
            "passages": len(self._passages),
            "read": self._read,
            "known": self._known,
            "bytes": self._bytes,
            "full": self._full,
        }

    def told(self) -> str:
        from edge_tui.commands.output import size as shown

        ready = self._read + self._known
        said = f"{ready:,} of {len(self._passages):,} passages are ready, {self._read:,} of them read now"
        said += f" ({shown(self._bytes)})" if self._bytes else ""
        if self._full:
            said += "; there is no room for more: raise kv_budget, or this engine keeps none"
        return f"{said}."


def _wanted(index: Index) -> list[Passage]:
    """All passages, those first that earlier answers stood on most often."""
    passages = [passage for document in index.documents() for passage in index.passages(document.path)]
    cited: defaultdict[str, list[int]] = defaultdict(list)
    for document, place in _cited():
        cited[document].append(place)

    def weight(passage: Passage) -> int:
        return -sum(passage.start <= place < passage.end for place in cited.get(passage.document, ()))

    return sorted(passages, key=weight)


def _cited() -> Iterator[tuple[str, int]]:
    """Document and place of every source in the kept chats."""
    from edge import paths
    from edge.errors import StorageError
    from edge_tui.chats.store import Store

    file = paths.chats_file()
    if not file.is_file():
        return
    try:
        with Store(file) as store:
            for entry in store.chats():
                for turn in store.turns(entry.id):
                    yield from ((source.document, source.start) for source in turn.answer.sources)
    except StorageError:  # an order for want of a better one
        return
