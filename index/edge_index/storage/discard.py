"""An index that was made and stayed empty is taken away again, unless somebody else has begun to use it."""

from __future__ import annotations

import secrets
import shutil
from contextlib import closing
from pathlib import Path

from edge.errors import KnowledgeError, StorageError
from edge_index.storage.lock import WriterLock
from edge_index.storage.store import Store


def discard_empty(folder: Path) -> bool:
    """Delete the index in `folder` where it holds nothing; whether it was deleted.

    Who has opened it meanwhile and adds to it is told, see `WriterLock` and `SharedFile`: the folder leaves as a
    whole, so that nothing of it can be mixed with one that is made in its place.
    """
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.removed")
    try:
        with WriterLock(folder).held(0):
            with closing(Store(folder / "index.sqlite", create=False)) as store:
                if store.states():
                    return False
            folder.rename(aside)
    except (KnowledgeError, StorageError, OSError):  # another process writes it, or it cannot be renamed
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True
