"""examples/streaming_server.py, with a scripted model behind it and two hundred clients at once."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
WORDS = 20

SERVER = f"""
import sys
sys.path[:0] = [{str(EXAMPLES)!r}]
import uvicorn
import streaming_server
from edge import Model
from edge.engines.scripted import ScriptedEngine

begun = []

def reply(prompt):
    begun.append(prompt.split()[1])
    return " ".join(str(n) for n in range({WORDS}))

streaming_server.load = lambda: Model(ScriptedEngine(reply, delay=0.0005))
streaming_server.app.get("/begun")(lambda: begun)
queue = lambda: list(streaming_server.app.state.model._scheduler._queue)
streaming_server.app.get("/entered")(lambda: len(begun) + sum(not request.begun for request in queue()))
uvicorn.run(streaming_server.app, fd=int(sys.argv[1]), log_level="error")
"""


@pytest.fixture(autouse=True)
def no_network() -> None:
    """The server is on this machine, and only its own clients speak to it."""


@pytest.fixture
def server() -> Iterator[int]:
    """The port of the example, with a scripted model; nobody but this test can reach it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        port, fd = listening.getsockname()[1], listening.fileno()
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SERVER), str(fd)], pass_fds=[fd])
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(timeout=60) in (0, -15)


async def get(port: int, path: str) -> str:
    """The body of an HTTP/1.0 answer, which ends with its connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.split()[1] == b"200", head
    return body.decode()


def test_two_hundred_clients_stream_at_once_none_is_refused_and_the_order_is_fair(server: int) -> None:
    async def clients(first: int, last: int) -> list[str]:
        return await asyncio.gather(*(get(server, f"/ask?q={n}") for n in range(first, last)))

    async def all_of_them() -> tuple[list[str], list[str]]:
        early = asyncio.create_task(clients(0, 100))
        while int(await get(server, "/entered")) < 100:
            pass
        return await asyncio.gather(early, clients(100, 200))

    early, late = asyncio.run(all_of_them())
    assert set(early + late) == {" ".join(map(str, range(WORDS)))}
    begun = [int(text) for text in asyncio.run(get(server, "/begun")).strip('[]"').split('","')]
    assert sorted(begun) == list(range(200))
    assert set(begun[:100]) == set(range(100))  # who came earlier begins earlier
