"""Encoders that need no model, and processes whose end the tests decide."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SUPPORT = Path(__file__).parent


class WordEncoder:
    """A hashed bag of words: texts that share words are near. Only `encode`, as an encoder of a user's own may be."""

    dim = 256

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        self.seen += texts
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                vector[zlib.crc32(word.encode()) % self.dim] += 1
        return vectors


class OtherEncoder(WordEncoder):
    """The same texts, other vectors."""

    dim = 128


_PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from index_fakes import WordEncoder
from edge_index import Index

def say(word):
    print(word, flush=True)

def wait():
    sys.stdin.readline()
"""


class Child:
    """A Python process that speaks and listens line by line; `WordEncoder` and `Index` are there, and say, wait."""

    def __init__(self, code: str, *arguments: str | Path, before: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", _PRELUDE + textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        )

    def expect(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line == word, f"the child said {line!r} instead of {word!r}: {self.end()}"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Exit status and everything it still said, standard error last."""
        said, trouble = self.process.communicate(timeout=120)
        return self.process.returncode, said + trouble


def bound_by_permissions() -> tuple[str, ...]:
    """A command in front of a command under which the permission bits bind even root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("NOT PROVEN: what happens in a read-only folder; root needs setpriv (util-linux) to see it")
    return ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


class CountingEncoder(WordEncoder):
    """Late pooling as the real encoder does it: `passages` are the texts that it was really given."""

    fingerprint = "counting"

    def __init__(self) -> None:
        super().__init__()
        self.passages: list[str] = []

    def encode_with_spans(
        self, texts: list[str], spans: list[list[tuple[int, int]]]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        self.passages += texts
        parts = [self._unit([text[a:b] for a, b in inside]) for text, inside in zip(texts, spans, strict=True)]
        return self._unit(texts), parts

    def _unit(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = self.encode(texts)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


class NewEncoder(CountingEncoder):
    """Another encoder, which also cuts otherwise."""

    fingerprint = "new"
    dim = 192
    max_tokens = 30
