"""The inside of the child process: reads files that it is sent, one after the other, until its input ends."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import IO

from edge.errors import DocumentError
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.isolation import parent
from edge_index.loaders.registry import parse

# Seconds after which it ends itself; the parent, if there still is one, has killed it long before.
_GRACE = 15.0
_REFUSED = (
    "socket.connect socket.bind socket.sendto socket.getaddrinfo socket.gethostbyname subprocess.Popen os.system "
    "os.exec os.posix_spawn os.fork os.forkpty os.spawn pty.spawn os.startfile webbrowser.open "
    "os.remove os.rename os.rmdir os.mkdir os.link os.symlink os.truncate os.chmod"
).split()
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def serve() -> None:
    requests, replies = _pipes()
    _lock_down()
    base = _address_space()
    replies.write(b"+")
    replies.flush()
    while start := requests.read(16):
        header_length, length = struct.unpack("<QQ", start)
        request = json.loads(requests.read(header_length))
        data = requests.read(length)
        faulthandler.dump_traceback_later(request["seconds"] + _GRACE, exit=True, file=sys.stderr)
        _limit_memory(base + request["memory"])
        header, text = _read(request, data)
        del data
        _limit_memory(None)
        encoded = json.dumps(header).encode()
        replies.write(struct.pack("<QQ", len(encoded), len(text)) + encoded)
        replies.write(text)
        replies.flush()
        faulthandler.cancel_dump_traceback_later()


def _read(request: dict[str, object], data: bytes) -> tuple[dict[str, object], bytes]:
    """The reply: its header and the text in UTF-8."""
    path, memory, characters = Path(str(request["path"])), request["memory"], request["characters"]
    assert isinstance(memory, int)
    assert isinstance(characters, int)
    try:
        extracted: Extracted = parse(str(request["module"]), path, data)
        if len(extracted.text) > characters:
            return {"error": f"{path} {parent.too_long(characters)}"}, b""
        return parent.header_of(extracted), extracted.text.encode()
    except DocumentError as error:
        if isinstance(error.__context__, MemoryError):
            return {"error": f"{path} {parent.too_large(memory)}"}, b""
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": f"{path} {parent.too_large(memory)}"}, b""


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Where requests come from and replies go; what a parser prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(replies.fileno(), os.O_BINARY)
    return sys.stdin.buffer, replies


def _lock_down() -> None:
    """No network, no other program, no file written; Ctrl-C is the parent's to decide about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    # openpyxl asks for it and does without; it takes longer to start than everything else here together.
    sys.modules["numpy"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    refused = frozenset(_REFUSED)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if event in refused or writes:
            raise PermissionError(f"a document may not cause {event}")

    sys.addaudithook(audit)


def _address_space() -> int:
    """Bytes of address space that this process takes before it has read anything."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _limit_memory(limit: int | None) -> None:
    """Only where it is known to work: macOS takes the call and does nothing. The parent watches everywhere."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit or resource.RLIM_INFINITY, resource.RLIM_INFINITY))
