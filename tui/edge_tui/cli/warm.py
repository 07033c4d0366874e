"""`edge index warm`: what a model reads of every passage, computed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tui.click_types import Choice
from edge_tui.session.prewarm_order import Budget

if TYPE_CHECKING:
    from edge.chat import Chat
    from edge.types import Passage


@click.command(epilog="Example: edge index warm --index pumps -m phi3")
@click.option("--index", metavar="DIR", help="A folder, or the name of an index (default: default).")
@click.option("-m", "--model", metavar="MODEL", help="Whose reading: a model by name or path.")
@click.option("-a", "--adapter", metavar="LORA", help="And under which LoRA, if under one.")
@click.option("--context", type=click.IntRange(16), metavar="N", help="As the questions will have it.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="As the questions will have it.")
@click.option("--kv-type", type=Choice(["f16", "q8_0", "q4_0"]), help="As the questions will have it.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N passages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def warm(adapter: str | None, limit: int | None, as_json: bool, **options: Any) -> None:
    """Let the model read every passage now, and keep what it has read on the disk.

    The first word of an answer then comes as soon as the question is read. Passages that earlier answers stood on come
    first, until all are read or the budget is used up (kv_budget in config.toml: gigabytes, 2 unless told). After
    Ctrl-C or a kill the same command goes on. Another model, adapter, context or KV type reads for itself.
    """
    from edge.chat import Chat
    from edge_tui.cli.inputs import resources
    from edge_tui.cli.options import Request
    from edge_tui.cli.output import print_json
    from edge_tui.session.prewarm_order import wanted

    request = Request.of(docs=(), adapter=adapter, scale=None, force=False, **options)
    settings = request.settings
    path = resources.chosen_index(settings)
    with ExitStack() as stack:
        if path is None:
            resources.require_index(Path(resources.DEFAULT_INDEX), resources.DEFAULT_INDEX)
        assert path is not None, "require_index raises"
        index = resources.open_index(path, settings, encoder=False)
        stack.callback(index.close)
        passages = list(islice(wanted(index), limit))
        model = stack.enter_context(resources.model_loader(request)())
        chat = Chat(model, knowledge=index, system=settings.system, adapter=resources.adapter_name(request))
        chat.think = settings.think
        done = _Warmed(chat, passages, int(settings.kv_budget * 1e9))
        done.run()
        if as_json:
            print_json(done.figures)
        else:
            click.echo(done.describe())
    if done.stopped:
        click.get_current_context().exit(130)


class _Warmed:
    def __init__(self, chat: Chat, passages: Sequence[Passage], budget: int) -> None:
        self._chat = chat
        self._passages = passages
        self._budget = Budget(budget)
        self._known = 0
        self._full = self.stopped = False

    def run(self) -> None:
        from edge_tui.cli.output import progress_bar, status, warn

        with progress_bar() as bar:
            task = bar.add_task("passages", total=len(self._passages)) if bar is not None else None
            try:
                for number, passage in enumerate(self._passages, 1):
                    if self._budget.used_up:
                        self._full = True
                        break
                    size = self._chat.prefill_cache(passage)
                    if size is None:
                        self._full = True
                        break
                    self._known += not size
                    self._budget.take(size)
                    if self._budget.read == 1 and size:
                        (warn if size * len(self._passages) > self._budget.size else status)(self._cost(size))
                    if bar is not None and task is not None:
                        bar.update(task, completed=number)
            except KeyboardInterrupt:
                self.stopped = True

    def _cost(self, size: int) -> str:
        from edge_tui.rendering.units import format_size as shown

        count = len(self._passages)
        return (
            f"A passage takes some {shown(size)}, all {count:,} of them {shown(size * count)}; the budget is "
            f"{shown(self._budget.size)} (kv_budget)."
        )

    @property
    def figures(self) -> dict[str, object]:
        return {
            "passages": len(self._passages),
            "read": self._budget.read,
            "known": self._known,
            "bytes": self._budget.spent,
            "full": self._full,
        }

    def describe(self) -> str:
        from edge_tui.rendering.units import format_size as shown

        read, spent = self._budget.read, self._budget.spent
        said = f"{read + self._known:,} of {len(self._passages):,} passages are ready, {read:,} of them read now"
        said += f" ({shown(spent)})" if spent else ""
        if self._full:
            problem = self._chat.model.engine.cache_error
            said += f"; {problem or 'there is no room for more: raise kv_budget, or this engine keeps none'}"
        return f"{said}."
