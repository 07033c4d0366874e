"""The whole path without a network, shown by the operating system: Python cannot see what native code does.

Once in a network namespace in which nothing is connected, once under strace, which lists every socket and every
file that is written. A system that allows neither skips these tests with the words NOT PROVEN.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import standin

DRIVER = Path(__file__).parent / "support" / "offline_driver.py"

QUESTION = "What is the seal of the pump made of?"
FACT = "The seal of the main pump is made of green silicone rubber."
DOCUMENTS = {
    "pump.md": f"# Pump\n\nThe main pump moves cooling water through the plant. {FACT} It is changed every spring.\n",
    "fan.txt": "The fan hangs under the roof of the hall. Two screws hold it. It turns at 900 revolutions a minute.\n",
}

# Every way to make or change something that has a name, and every way to a socket or an address.
TRACED = (
    "socket,connect,bind,sendto,open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,"
    "link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,truncate,chmod,fchmodat,chown,lchown,fchownat"
)
_CALL = re.compile(r"(\w+)\((.*)")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
_FOR_WRITING = re.compile(r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC|TMPFILE)\b")
_NOT_FILES = re.compile(r"/dev/(?:null|tty|ptmx|pts/\d+)|/proc/(?:self|\d+)/.*")
_SOCKET_CALLS = {"socket", "connect", "bind", "sendto"}


@dataclass(frozen=True)
class Person:
    """Somebody who has just installed edge: an empty home, a data directory with nothing but the models."""

    root: Path
    models: Path

    @classmethod
    def new(cls, root: Path, models: Path) -> Person:
        person = cls(root, models)
        for folder in (person.home, person.data, person.temp, person.here, person.documents):
            folder.mkdir(parents=True)
        (person.data / "models").symlink_to(models)
        for name, text in DOCUMENTS.items():
            (person.documents / name).write_text(text, encoding="utf-8")
        return person

    @property
    def home(self) -> Path:
        return self.root / "person"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def temp(self) -> Path:
        return self.root / "temp"

    @property
    def here(self) -> Path:
        return self.root / "here"

    @property
    def documents(self) -> Path:
        return self.root / "documents"

    @property
    def index(self) -> Path:
        return self.root / "index"

    def run(self, command: Sequence[str | Path]) -> str:
        """What a command prints that must succeed. Of this process's environment it gets nothing but PATH.

        So nothing that silences telemetry (CI, ORT_DISABLE_TELEMETRY, which conftest.py sets) reaches it.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "EDGE_HOME": str(self.data),
            "TMPDIR": str(self.temp),
            "PYTHONDONTWRITEBYTECODE": "1",  # else it would be Python that writes, at the first import
        }
        done = subprocess.run(
            list(map(str, command)), cwd=self.here, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def left(self) -> list[Path]:
        """What stands where nothing may be written."""
        return [path for folder in (self.home, self.here) for path in folder.rglob("*")]


def walk_the_whole_path(person: Person, within: Sequence[str | Path]) -> None:
    """Add, ask and chat, each a process of its own inside the command `within`; all three must really answer."""
    edge: list[str | Path] = [*within, sys.executable, "-m", "edge_tui.cli.main"]
    report = json.loads(person.run([*edge, "index", "add", person.documents, "--index", person.index, "--json"]))
    assert len(report["added"]) == len(DOCUMENTS)

    asked: Any = json.loads(
        person.run([*edge, "ask", QUESTION, "--index", person.index, "--max-tokens", "16", "--json"])
    )
    assert asked["evidence"][0]["quote"] == FACT
    assert asked["usage"]["completion_tokens"] > 0

    turn = json.loads(person.run([*within, sys.executable, DRIVER, person.index, QUESTION]))
    assert turn["state"] == "ready"
    assert turn["answer"].strip()
    assert FACT in turn["quotes"]


# In a network namespace ------------------------------------------------------------------------------------------

_CONNECT_TO_ITSELF = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
    pass
"""


@pytest.fixture(scope="module")
def unconnected() -> list[str]:
    """A command in front of a command: it runs in a network namespace of its own, where even loopback is down."""
    for way in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which(way[0]) and _succeeds([*way, "true"]):
            return way
    pytest.skip("NOT PROVEN: that edge works without a network, because this system allows no `unshare --net`")


def test_whole_path_without_network_interfaces(unconnected: list[str], starter_home: Path, tmp_path: Path) -> None:
    person = Person.new(tmp_path, starter_home / "models")
    walk_the_whole_path(person, unconnected)
    assert person.left() == []


def test_namespace_cuts_even_the_loopback(unconnected: list[str]) -> None:
    """The control: what connects here does not connect in there."""
    itself = [sys.executable, "-c", _CONNECT_TO_ITSELF]
    assert _succeeds(itself)
    assert not _succeeds([*unconnected, *itself])


# Under strace ----------------------------------------------------------------------------------------------------


@pytest.fixture
def strace(tmp_path: Path) -> tuple[list[str], Path]:
    """A command in front of a command, and the folder in which it writes down one file for every thread."""
    # -A: a process number that comes again must not overwrite what the first one did.
    way = ["strace", "--seccomp-bpf", "-ff", "-A", "-y", "-s", "4096", "-e", f"trace={TRACED}"]
    if shutil.which("strace") is None:
        pytest.skip("NOT PROVEN: that edge opens no socket and writes nothing outside; install strace to see it shown")
    if not _succeeds([*way, "-o", str(tmp_path / "probe"), "true"]):
        pytest.skip("NOT PROVEN: that edge opens no socket and writes nothing outside; this system allows no strace")
    logs = tmp_path / "logs"
    logs.mkdir()
    return [*way, "-o", str(logs / "call")], logs


def test_whole_path_opens_no_socket_and_writes_nothing_outside(
    strace: tuple[list[str], Path], starter_home: Path, tmp_path: Path
) -> None:
    way, logs = strace
    person = Person.new(tmp_path / "p", starter_home / "models")
    walk_the_whole_path(person, way)
    allowed = [person.data, person.temp, person.index]
    assert violations(logs, person.here, allowed) == []
    assert person.left() == []
    # The trace really saw the work: what was allowed is in it.
    written = violations(logs, person.here, [])
    assert any("index.sqlite" in line for line in written)
    assert any(str(person.data / "cache") in line for line in written)


def test_conversion_opens_no_socket_and_writes_nothing_outside(
    strace: tuple[list[str], Path], smollm_path: Path, tmp_path: Path
) -> None:
    """With the proof, which runs transformers and peft; and through the ONNX builder, a process of its own."""
    way, logs = strace
    person = Person.new(tmp_path / "p", tmp_path)
    standin.save_tokenizer(smollm_path, tmp_path)
    base = standin.make_tiny(tmp_path / "base", tokenizer=tmp_path, vocab_size=49152)
    lora = standin.make_lora(base, tmp_path / "lora")
    out = tmp_path / "out"
    convert = [*way, sys.executable, "-m", "edge_tui.cli.main", "convert"]
    person.run([*convert, "gguf", base, "--adapter", lora, "-q", "f16", "-o", out / "a.gguf"])
    person.run([*convert, "onnx", base, "--adapter", lora, "-p", "int4", "-o", out / "a", "--no-verify"])
    assert (out / "a.parity.json").is_file()
    assert violations(logs, person.here, [person.data, person.temp, out]) == []
    assert person.left() == []
    assert any("model.onnx.data" in line for line in violations(logs, person.here, []))


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "AF_INET"),
        ("import socket; socket.socket(socket.AF_INET6)", "AF_INET6"),
        ("open('x.txt', 'w')", "x.txt"),
        ("import os; os.open('../data/models/x.bin', os.O_CREAT)", "x.bin"),
        ("import threading; threading.Thread(target=lambda: open('y.txt', 'a')).start()", "y.txt"),
        ("import subprocess; subprocess.run(['touch', 'z.txt'])", "z.txt"),
        ("import os; os.mkdir('d'); os.rmdir('d')", "rmdir"),
        ("import os; p = os.environ['TMPDIR'] + '/a'; open(p, 'w').close(); os.rename(p, 'b')", "rename"),
    ],
)
def test_strace_sees(strace: tuple[list[str], Path], tmp_path: Path, code: str, seen: str) -> None:
    """The control: each of these is one violation, in whatever thread or process it happens."""
    way, logs = strace
    models = tmp_path / "models"
    models.mkdir()
    person = Person.new(tmp_path / "p", models)
    person.run([*way, sys.executable, "-c", code])
    found = violations(logs, person.here, [person.data, person.temp])
    assert any(seen in line for line in found), found


def test_strace_allows_what_is_allowed(strace: tuple[list[str], Path], tmp_path: Path) -> None:
    way, logs = strace
    person = Person.new(tmp_path / "p", tmp_path)
    code = (
        "import os, socket, tempfile; socket.socketpair(); os.pipe(); open('/dev/null', 'w'); tempfile.mkstemp(); "
        "open(os.environ['EDGE_HOME'] + '/x', 'w'); open('/etc/passwd')"
    )
    person.run([*way, sys.executable, "-c", code])
    assert violations(logs, person.here, [person.data, person.temp]) == []


def test_strace_sees_the_telemetry_of_onnxruntime(strace: tuple[list[str], Path], tmp_path: Path) -> None:
    """The real thing that the test above guards against: onnxruntime, imported without `edge.system.offline`."""
    way, logs = strace
    person = Person.new(tmp_path / "p", tmp_path)
    person.run([*way, sys.executable, "-c", "import onnxruntime"])
    found = violations(logs, person.here, [person.data, person.temp])
    if not found:
        pytest.skip("this build of onnxruntime has no telemetry to be caught")
    assert any("onnxruntime" in line or "AF_INET" in line for line in found), found


def violations(logs: Path, here: Path, allowed: Sequence[Path]) -> list[str]:
    """The system calls in `logs` that reach for a network or change something outside `allowed`."""
    lines = [line for log in sorted(logs.iterdir()) for line in log.read_text(errors="replace").splitlines()]
    assert lines, "strace wrote nothing down"
    roots = [folder.resolve() for folder in allowed]
    return [line for line in lines if _is_violation(line, here, roots)]


def _is_violation(line: str, here: Path, roots: Sequence[Path]) -> bool:
    call = _CALL.match(line)
    if call is None:  # a signal, an exit
        return False
    name, arguments = call.groups()
    if name in _SOCKET_CALLS:
        return "AF_INET" in arguments or (name == "socket" and "AF_UNIX" not in arguments)
    if name.startswith("open") and not _FOR_WRITING.search(arguments):
        return False
    paths = [_absolute(match, here) for match in _PATH.finditer(arguments)]
    if name.startswith("symlink"):
        paths = paths[1:]  # the first is only what the link says
    return any(
        not _NOT_FILES.fullmatch(str(path)) and not any(path.is_relative_to(root) for root in roots) for path in paths
    )


def _absolute(match: re.Match[str], here: Path) -> Path:
    """The file that an argument names. Links are followed: what lies behind one in the data directory is outside."""
    name = match["path"].encode("latin-1").decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
    path = Path(match["folder"] or here, name)
    return path if _NOT_FILES.fullmatch(str(path)) else path.resolve()


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
