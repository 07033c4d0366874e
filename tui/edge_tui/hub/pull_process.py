"""What `edge.models.pull` runs, in a process of its own: the pulls of the command line, with plain values alone."""

from __future__ import annotations

from collections.abc import Callable

from edge.errors import UsageError
from edge.system import paths
from edge_tui.hub import repository, starter
from edge_tui.hub.starter import PullProgress


def pull(
    name: str,
    *,
    quantisation: str | None,
    file: str | None,
    revision: str | None,
    save_as: str | None,
    progress: Callable[[str, str, int, int], object],
) -> str:
    """The path of the model; see `edge.models.pull`."""

    def report(now: PullProgress) -> None:
        progress(now.stage, now.name, now.done, now.total)

    if name == "starter":
        if quantisation or file or revision or save_as:
            raise UsageError("starter is fixed: it takes none of the options that choose a file")
        return str(starter.pull(paths.models_dir(), progress=report)[0])
    pulled = repository.pull(
        name,
        paths.models_dir(),
        pattern=file,
        quantisation=quantisation,
        revision=revision,
        save_as=save_as,
        progress=report,
    )
    return pulled.path
