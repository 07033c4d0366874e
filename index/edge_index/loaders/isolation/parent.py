"""Parsing where it cannot hurt: one child process reads file after file under limits and is replaced when it dies."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from edge.errors import DocumentError
from edge_index.loaders.extracted import Extracted, Section

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from edge_index.loaders.isolation.child import serve; serve()"
)
_SECONDS_TO_START = 60.0
_GLANCE = 0.05  # seconds between two looks at a child at work
# A child that takes this many bytes of memory after a file is replaced: freed memory is not always given back.
_GROWN = 400 * 2**20
# What no document has: more of this means that the child is not to be trusted.
_LONGEST_HEADER = 256 * 2**20
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take: bytes of memory, seconds and characters of text.

    Memory and time grow with the file by `memory_factor` bytes a byte and `seconds_per_mib`.
    """

    memory: int = 1024 * _MIB
    memory_factor: int = 4
    seconds: float = 30.0
    seconds_per_mib: float = 10.0
    characters: int = 64 * _MIB


@functools.cache
def shared() -> Reader:
    """The reader of this process; it ends with it."""
    reader = Reader()
    atexit.register(reader.close)
    return reader


class Reader:
    """Reads files in a child process, which is started by the first `read`. Safe to call from several threads."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def read(self, module: str, path: Path, data: bytes) -> Extracted:
        """What `load` of that module makes of the file. Raises DocumentError, also when the child met a limit."""
        with self._lock:
            fresh = self._ready(path)
            try:
                reply = self._ask(module, path, data)
            except _Died:
                if fresh:
                    raise
                # It may have died before it saw this file, which nobody knows until all its threads are gone.
                self._ready(path)
                reply = self._ask(module, path, data)
            if isinstance(reply, str):
                raise DocumentError(reply)
            return reply

    def _ready(self, path: Path) -> bool:
        """See to it that there is a child; whether it is a new one."""
        if self._child is not None and self._child.usable():
            return False
        self._drop()
        self._child = _Child(path)
        return True

    def _ask(self, module: str, path: Path, data: bytes) -> Extracted | str:
        assert self._child is not None
        finished = False
        try:
            reply = self._child.read(module, path, data, self._limits)
            finished = self._child.resident() < _GROWN
        finally:
            # Also after Ctrl-C: its late reply would be taken for that of the next file.
            if not finished:
                self._drop()
        return reply

    def _drop(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Died(DocumentError):
    """The child ended while it read, and met no limit of ours."""


class _Child:
    """A running child process and the two pipes to it."""

    def __init__(self, path: Path) -> None:
        """`path` is the file that it is started for. Raises DocumentError when it does not start."""
        self._owner = os.getpid()
        self._exceeded: str | None = None
        # Isolated (-I): neither the working directory nor the environment may slip a module in.
        command = [sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-c", _START]
        try:
            self._process = subprocess.Popen(
                [*command, json.dumps([entry for entry in sys.path if entry])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise _no_start(path, error.strerror or str(error)) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._replies: IO[bytes] = self._process.stdout
        with self._watched(_SECONDS_TO_START, None):
            ready = self._replies.read(1)
        if not ready:
            self.end()
            raise _no_start(path, f"exit status {self._process.returncode}")

    def usable(self) -> bool:
        """Whether it lives and is ours: a forked copy of this process must not speak on the same pipes."""
        return self._owner == os.getpid() and self._process.poll() is None

    def end(self) -> None:
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):  # what it never read
                pipe.close()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()

    def read(self, module: str, path: Path, data: bytes, limits: Limits) -> Extracted | str:
        """The text, or in a sentence why there is none. Raises DocumentError when the child died of the file."""
        seconds = limits.seconds + limits.seconds_per_mib * len(data) / _MIB
        memory = limits.memory + limits.memory_factor * len(data)
        request = {
            "module": module, "path": str(path), "memory": memory, "seconds": seconds, "characters": limits.characters,
        }  # fmt: skip
        header = json.dumps(request).encode()
        try:
            with self._watched(seconds, memory):
                self._requests.write(struct.pack("<QQ", len(header), len(data)) + header)
                self._requests.write(data)
                self._requests.flush()
                return self._reply(limits)
        except (EOFError, OSError):
            if self._exceeded:
                raise DocumentError(f"{path} {self._exceeded}") from None
            raise _Died(f"{path} {self._death()}") from None

    def _reply(self, limits: Limits) -> Extracted | str:
        header_length, length = struct.unpack("<QQ", self._exactly(16))
        if header_length > _LONGEST_HEADER or length > 4 * limits.characters:
            raise EOFError
        reply = json.loads(self._exactly(header_length))
        if "error" in reply:
            return str(reply["error"])
        text = self._exactly(length).decode()
        sections = tuple(Section(*row) for row in reply["sections"])
        return Extracted(text, sections, reply["pages"], reply["by_line"], tuple(reply["notes"]))

    def _exactly(self, length: int) -> bytes:
        data = self._replies.read(length)
        if len(data) < length:
            raise EOFError
        return data

    def _death(self) -> str:
        """How it ended, in words that follow the name of the file."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            status = 0
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return (
            f"crashed the program part that reads its format ({how}) and was left out; it is damaged or hostile: open "
            "it in its own program and save it again"
        )

    def _watched(self, seconds: float, memory: int | None) -> _Watch:
        return _Watch(self, seconds, memory)

    def exceed(self, reason: str) -> None:
        """Called by the watch: give this file up."""
        self._exceeded = reason
        self._process.kill()

    def resident(self) -> int:
        """Bytes of memory that it takes now."""
        import psutil

        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0


class _Watch:
    """While it is open, a thread kills the child when it takes too long or too much memory."""

    def __init__(self, child: _Child, seconds: float, memory: int | None) -> None:
        self._child = child
        self._seconds = seconds
        self._memory = memory
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-loader-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        deadline = time.monotonic() + self._seconds
        while not self._done.wait(_GLANCE):
            if time.monotonic() > deadline:
                self._child.exceed(too_slow(self._seconds))
                return
            if self._memory is not None and self._child.resident() > self._memory:
                self._child.exceed(too_large(self._memory))
                return


def too_slow(seconds: float) -> str:
    return f"took more than the {seconds:.0f} s that reading it may take and was left out; split it or save it as text"


def too_large(memory: int) -> str:
    return (
        f"needs more than the {memory // _MIB} MiB of memory that reading it may take and was left out; split it "
        "or save it as text"
    )


def too_long(characters: int) -> str:
    return f"holds more than the {characters // 10**6} million characters that a document may have; split it"


def _no_start(path: Path, why: str) -> DocumentError:
    return DocumentError(
        f"{path} cannot be read because the process that reads documents does not start ({why}); "
        f"see whether {sys.executable} runs"
    )


def header_of(extracted: Extracted) -> dict[str, object]:
    """All but the text, as it travels."""
    record = asdict(extracted)
    record["sections"] = [[s.start, s.end, s.heading, s.page] for s in extracted.sections]
    del record["text"]
    return record
