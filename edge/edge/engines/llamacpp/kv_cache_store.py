"""Which kept files are an engine's: those of its very weights, of the adapter in use, of its settings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from edge.engines.llamacpp.kv_cache_files import KVCacheFiles
from edge.system.checksum import Checksums
from edge.system.paths import cache_dir

Key = tuple[str, float] | None
"""An adapter's name and scale; None: the plain base."""


class KVCacheStore:
    """Of the GGUF file `weights`. `settings`, set once they are known, are what a KV cache depends on beside weights,
    adapter and tokens.

    `budget` is in bytes, 0 for none at all. Remove an adapter before its name comes again with other weights, and
    `close` to wait for what is still being written.
    """

    def __init__(self, weights: Path, budget: int) -> None:
        self.budget = budget
        self._weights = weights
        self.settings: object = None
        self._adapters: dict[str, Path] = {}
        self._files: dict[Key, KVCacheFiles] = {}
        self._writer: ThreadPoolExecutor | None = None

    @property
    def error(self) -> str | None:
        """Why a state could not be written last."""
        return next((files.error for files in self._files.values() if files.error), None)

    def add_adapter(self, adapter: str, path: Path) -> None:
        """The file that an adapter was loaded from."""
        self._adapters[adapter] = path

    def remove_adapter(self, adapter: str) -> None:
        self.close()
        self._adapters.pop(adapter, None)
        self._files = {key: files for key, files in self._files.items() if key is None or key[0] != adapter}

    def files(self, key: Key, *, hashing: bool) -> KVCacheFiles | None:
        """Those of an adapter; None without a budget and, without `hashing`, where a SHA-256 is not known yet."""
        files = self._files.get(key)
        if files is not None or not self.budget:
            return files
        sources = [self._weights] if key is None else [self._weights, self._adapters[key[0]]]
        book = Checksums(cache_dir() / "checksums.json")
        try:
            sums = [book.of(file) if hashing else book.known(file) for file in sources]
        except OSError:  # deleted while it was open
            return None
        if None in sums:
            return None
        identity = repr((sums, None if key is None else key[1], self.settings, version("llama-cpp-python")))
        return self._files.setdefault(key, KVCacheFiles(cache_dir() / "kv", identity.encode(), self.budget))

    def write_later(self, key: Key, tokens: list[int], state: bytes) -> None:
        """On a thread of its own: somebody waits for an answer, and a model's SHA-256 takes seconds the first time."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "edge-kv")

        def write() -> None:
            files = self.files(key, hashing=True)
            if files is not None and tokens not in files:
                files.put(tokens, state)

        self._writer.submit(write)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None
