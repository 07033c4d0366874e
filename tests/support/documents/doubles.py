"""A loader that does what parsers of hostile files do: it hangs, dies, eats memory, floods, and more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from edge.errors import DocumentError
from edge_index.loaders import Extracted, Section


def load(path: Path, data: bytes) -> Extracted:
    order, _, argument = data.decode().partition(" ")
    return _ORDERS[order](argument)


def _hang(_: str) -> Extracted:
    time.sleep(600)
    return Extracted("never")


def _spin(_: str) -> Extracted:
    """One call of C that holds the interpreter's lock for hours."""
    return Extracted(str(7 ** (10**9) > 0))


def _die(name: str) -> Extracted:
    os.kill(os.getpid(), getattr(signal, name))
    return _hang("")


def _leave(status: str) -> Extracted:
    os._exit(int(status))


def _eat(_: str) -> Extracted:
    held = []
    while True:
        held.append(bytearray(16 * 2**20))


def _flood(count: str) -> Extracted:
    return Extracted("x" * int(count))


def _raise(_: str) -> Extracted:
    raise ZeroDivisionError("two\nlines")


def _refuse(_: str) -> Extracted:
    raise DocumentError("its own sentence")


def _print(_: str) -> Extracted:
    print("noise on the way of the replies", flush=True)
    os.write(1, b"more of it")
    return Extracted("quiet")


def _connect(address: str) -> Extracted:
    socket.create_connection(("127.0.0.1", int(address)), 5).close()
    return Extracted("connected")


def _run(path: str) -> Extracted:
    subprocess.run([sys.executable, "-c", f"open({path!r}, 'w')"], check=True)
    return Extracted("ran")


def _write(path: str) -> Extracted:
    Path(path).write_text("was here")
    return Extracted("wrote")


def _process(_: str) -> Extracted:
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    return Extracted(
        f"{os.getpid()} {' '.join(loaded)}", (Section(0, 3, "ü", 2), Section(3, 5, None, None)), 7, True, ("n",)
    )


def _halves(_: str) -> Extracted:
    return Extracted("a\ud800b\x00c", (Section(0, 5, "h\udfff", None),))


_ORDERS = {
    name.removeprefix("_"): order for name, order in list(globals().items()) if name.startswith("_") and callable(order)
}
