"""Whatever a parser does, it costs its own file one sentence: the process goes on and so does the next file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import edge_index.loaders
from edge.errors import DocumentError
from edge_index.loaders import Extracted, Section, load
from edge_index.loaders.isolation import parent
from edge_index.loaders.isolation.parent import Limits, Reader

DOUBLES = "documents.doubles"
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(Limits(memory=300 * 2**20, seconds=3, characters=1000)) as reader:
        yield reader


def order(reader: Reader, text: str, name: str = "some.pdf") -> Extracted:
    return reader.read(DOUBLES, Path(name), text.encode())


def process(reader: Reader) -> int:
    return int(order(reader, "process").text.split()[0])


def reason(reader: Reader, text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        order(reader, text)
    assert "\n" not in str(caught.value)
    assert order(reader, "flood 5").text == "xxxxx", "the next file is read"
    return str(caught.value)


def test_what_travels_arrives_whole_and_one_child_serves_all(reader: Reader) -> None:
    first = order(reader, "process")
    assert first.sections == (Section(0, 3, "ü", 2), Section(3, 5, None, None))
    assert (first.pages, first.by_line, first.notes) == (7, True, ("n",))
    assert int(first.text.split()[0]) == process(reader) != os.getpid()
    assert order(reader, "print").text == "quiet"
    halves = order(reader, "halves")
    assert (halves.text, halves.sections[0].heading) == ("a\ufffdb\ufffdc", "h\ufffd")


def test_the_child_carries_nothing_heavy(reader: Reader) -> None:
    loaded = set(order(reader, "process").text.split()[1:])
    assert not loaded & {"torch", "llama_cpp", "onnxruntime", "tokenizers", "transformers", "textual", "pytest"}


@pytest.mark.parametrize("trouble", ["hang", "spin"])
def test_a_hang_ends_at_the_limit_of_time(trouble: str) -> None:
    with Reader(Limits(seconds=0.6)) as reader:
        before = process(reader)
        assert "some.pdf took more than the 1 s" in reason(reader, trouble)
        assert process(reader) != before
        assert not psutil.pid_exists(before)


def test_time_and_memory_grow_with_the_file() -> None:
    with Reader(Limits(seconds=0.2, seconds_per_mib=20, memory=2**20, memory_factor=400)) as reader:
        padded = b"flood 5".ljust(2**20)
        assert reader.read(DOUBLES, Path("a.pdf"), padded).text == "xxxxx"


def test_memory_ends_at_its_limit(reader: Reader) -> None:
    said = reason(reader, "eat")
    assert "300 MiB of memory" in said
    assert "some.pdf" in said


def test_memory_is_also_watched_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operating system takes no limit: the watch must strike without it."""
    monkeypatch.setattr(parent, "_START", "import sys; sys.platform = 'other'; " + parent._START)
    with Reader(Limits(memory=300 * 2**20)) as reader:
        assert "300 MiB of memory" in reason(reader, "eat")


def test_a_flood_ends_at_the_limit_of_output(reader: Reader) -> None:
    assert order(reader, "flood 1000").text == "x" * 1000
    assert "some.pdf holds more" in reason(reader, "flood 1001")


@POSIX
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT"])
def test_a_crash_costs_one_file(reader: Reader, name: str) -> None:
    assert f"(signal {int(getattr(signal, name))})" in reason(reader, f"die {name}")


def test_an_exit_and_an_error(reader: Reader) -> None:
    assert "(exit status 3)" in reason(reader, "leave 3")
    assert "ZeroDivisionError: two lines" in reason(reader, "raise")
    assert reason(reader, "refuse") == "its own sentence"


def test_a_document_reaches_nothing_outside(reader: Reader, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "socket" in reason(reader, f"connect {server.getsockname()[1]}")
    assert "subprocess" in reason(reader, f"run {tmp_path / 'ran'}")
    assert "open" in reason(reader, f"write {tmp_path / 'wrote'}")
    assert list(tmp_path.iterdir()) == [] or [p.name for p in tmp_path.iterdir()] == ["edge-home"]


def test_several_threads_get_each_their_own(reader: Reader) -> None:
    with ThreadPoolExecutor(8) as pool:
        sizes = [1 + n % 97 for n in range(200)]
        texts = pool.map(lambda n: order(reader, f"flood {n}").text, sizes)
        assert [len(text) for text in texts] == sizes


@POSIX
def test_a_child_that_died_while_idle_is_replaced(reader: Reader) -> None:
    for _ in range(5):  # noticed at once or not
        psutil.Process(process(reader)).kill()
        assert order(reader, "flood 5").text == "xxxxx"


def test_an_interrupted_read_leaves_no_late_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    with Reader() as reader:
        before = process(reader)
        with monkeypatch.context() as patch:
            patch.setattr(parent._Child, "_reply", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                order(reader, "flood 9")
        assert order(reader, "flood 5").text == "xxxxx"
        assert process(reader) != before


def test_close_ends_the_child_and_the_next_file_starts_another() -> None:
    reader = Reader()
    first = process(reader)
    reader.close()
    assert not psutil.pid_exists(first)
    reader.close()
    assert process(reader) != first
    reader.close()
    load(Path("a.md"), b"# Head")
    shared = parent.shared()
    assert shared._child is not None
    edge_index.loaders.close()
    assert shared._child is None


def test_a_working_directory_slips_no_module_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("markdown_it.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Reader() as reader:
        assert reader.read("edge_index.loaders.markup.markdown", Path("a.md"), b"# Head").sections[0].heading == "Head"


def test_a_child_that_cannot_start_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "_START", "raise SystemExit(4)")
    with Reader() as reader, pytest.raises(DocumentError, match=r"does not start \(exit status 4\)"):
        order(reader, "flood 1")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Reader() as reader, pytest.raises(DocumentError, match="does not start"):
        order(reader, "flood 1")


@POSIX
def test_no_child_outlives_its_parent() -> None:
    """Neither a parent that ends in order nor one that is killed in the middle of a file."""
    program = textwrap.dedent(
        """
        import os, sys, threading, time
        from pathlib import Path
        from edge_index.loaders import load
        from edge_index.loaders.isolation.parent import shared
        load(Path("a.md"), b"# Head")
        print(shared()._child._process.pid, flush=True)
        """
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not psutil.pid_exists(int(result.stdout))
    killed = subprocess.Popen([sys.executable, "-c", program + "time.sleep(60)"], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    child = int(killed.stdout.readline())
    killed.kill()
    killed.wait()
    killed.stdout.close()
    gone = threading.Event()
    for _ in range(200):
        if not psutil.pid_exists(child):
            break
        gone.wait(0.05)
    assert not psutil.pid_exists(child)
