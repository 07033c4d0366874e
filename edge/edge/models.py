"""The models on this machine, and how another one gets here: `edge.models.list()`, `edge.models.pull("phi3")`.

Nothing else in edge uses the network, and nothing uses it that was not asked for by name.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path

from edge import library
from edge.library import ModelEntry
from edge.system.own_process import call_by_name

__all__ = ["ModelEntry", "list", "pull"]

_PULL = "edge_tui.hub.pull_process:pull"
"""What `edge models pull` runs. It stands above edge, which therefore only knows its name."""


def list() -> builtins.list[ModelEntry]:
    """The models and text encoders of the data directory, by name.

    Returns:
        Entries with name, path, format and bytes.

    Examples:
        >>> "all-MiniLM-L6-v2" in [entry.name for entry in edge.models.list()]
        True
    """
    return library.entries()


def pull(
    name: str,
    *,
    quantisation: str | None = None,
    file: str | None = None,
    revision: str | None = None,
    save_as: str | None = None,
    progress: Callable[[str, str, int, int], object] | None = None,
) -> Path:
    """Fetch a model into the data directory, unless it is there already.

    Sizes and hashes are checked, and a model appears whole or not at all. It is fetched by a process of its own;
    nothing is printed.

    Args:
        name: "starter" (a small model and a text encoder; the path is the model's), a short name of `edge models pull
            --list`, or OWNER/NAME of the Hugging Face hub.
        quantisation: Which GGUF file of it ("q8_0").
        file: Which file or folder of it, as a pattern.
        revision: A branch, tag or commit.
        save_as: What to call it here.
        progress: Called as (stage, name, bytes done, bytes in all); what it raises ends the download, and the next one
            goes on where it stopped.

    Returns:
        Its path, which `edge.load` takes.

    Raises:
        UsageError: For a name that is none.
        DownloadError: Where it could not be fetched.
        StorageError: Where it cannot be written.
        MissingExtra: Without the extra `hub`.

    Examples:
        >>> edge.models.pull("phi3")  # doctest: +SKIP
    """
    return Path(
        call_by_name(
            _PULL,
            name,
            quantisation=quantisation,
            file=file,
            revision=revision,
            save_as=save_as,
            progress=progress or _nobody,
        )
    )


def _nobody(_stage: str, _name: str, _done: int, _total: int) -> None:
    """Reports to nobody."""
