"""A Hugging Face hub on 127.0.0.1: the routes that huggingface_hub asks, a log of what was asked and sent, and the
faults that a network has.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

LARGE = (".gguf", ".safetensors", ".onnx", ".onnx.data", ".bin")
PIECE = 1 << 14


@dataclass
class Request:
    """A request for a file (or for anything else, with `file` None) and how much of its body was sent."""

    method: str
    path: str
    file: str | None
    range: str | None
    authorization: str | None
    agent: str
    encoding: str
    sent: int = 0


@dataclass
class Repo:
    """`files` by path; `commit` is what main points to. `gated` to everyone but the owner of the token `secret`."""

    files: dict[str, bytes]
    commit: str = "c0ffee" + "0" * 34
    licence: str = "mit"
    model_type: str | None = None
    gated: bool = False


@dataclass
class Faults:
    """By path of the file: connections are cut after so many bytes, in turn; other bytes are sent; answers are refused.

    `hold` sends so many bytes and then waits until `go_on` is set; `held` says that it has come so far.
    """

    cuts: dict[str, list[int]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    no_ranges: bool = False
    page: bytes | None = None
    hold: dict[str, int] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class LocalHub:
    endpoint: str
    storage: str
    repos: dict[str, Repo] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    log: list[Request] = field(default_factory=list)
    secret: str = "hf_secret"

    def of(self, file: str) -> list[Request]:
        """The requests that a body of `file` was sent for."""
        return [request for request in self.log if request.file == file and request.method == "GET"]


@contextmanager
def local_hub(repos: Mapping[str, Repo]) -> Iterator[LocalHub]:
    """The hub, and beside it the storage of large files, to which it redirects: another origin, as the real one has."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Handler) for _ in range(2)]
    hub = LocalHub(*(f"http://127.0.0.1:{server.server_port}" for server in servers), dict(repos))
    threads = []
    for server in servers:
        server.hub = hub  # type: ignore[attr-defined]  # a handler knows its server only
        server.daemon_threads = True
        threads.append(threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}))
        threads[-1].start()
    try:
        yield hub
    finally:
        hub.faults.go_on.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    """What `git hash-object` says of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """The log is `hub.log`."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @property
    def hub(self) -> LocalHub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).strip("/")
        headers = self.headers
        self.request_log = Request(
            self.command,
            path,
            None,
            headers.get("Range"),
            headers.get("Authorization"),
            headers.get("User-Agent", ""),
            headers.get("Accept-Encoding", ""),
        )
        self.hub.log.append(self.request_log)
        if self.hub.faults.page is not None:
            self._send(200, self.hub.faults.page, {"Content-Type": "text/html"})
        elif path.startswith("api/models/"):
            self._api(path.removeprefix("api/models/"), parse_qs(url.query))
        elif path.startswith("storage/"):
            _, name, file = path.split("/", 2)
            self._file(self.hub.repos[name.replace("--", "/")], file)
        elif "/resolve/" in path:
            self._resolve(*path.split("/resolve/"))
        else:
            self._send(404, b"")

    def _refused(self, name: str, *, file: bool) -> bool:
        repo = self.hub.repos.get(name)
        token = self.headers.get("Authorization")
        if repo is None:
            # The real hub does not tell a stranger which private repositories exist.
            self._send(401, b"", {"X-Error-Message": "Invalid username or password."})
        elif repo.gated and file and token != f"Bearer {self.hub.secret}":
            said = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {name} is restricted."}
            self._send(403 if token else 401, b"", said)
        else:
            return False
        return True

    def _commit(self, name: str, revision: str) -> Repo | None:
        repo = self.hub.repos[name]
        if revision in ("main", repo.commit):
            return repo
        self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return None

    def _api(self, rest: str, query: Mapping[str, list[str]]) -> None:
        parts = rest.split("/")
        name, tail = "/".join(parts[:2]), parts[2:]
        if self._refused(name, file=False):
            return None
        repo = self._commit(name, tail[1] if len(tail) > 1 else "main")
        if repo is None:
            return None
        files = [self._described(path, data, blobs="blobs" in query) for path, data in repo.files.items()]
        if tail and tail[0] in ("tree", "paths-info"):
            listed = [
                {"type": "file", "path": f["rfilename"], "oid": git_sha1(repo.files[f["rfilename"]])}
                | {key: value for key, value in f.items() if key in ("size", "lfs")}
                for f in [self._described(path, data, blobs=True) for path, data in repo.files.items()]
            ]
            return self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
        info = {"_id": "1", "id": name, "modelId": name, "sha": repo.commit, "private": False, "siblings": files}
        info |= {"gated": "auto" if repo.gated else False, "cardData": {"license": repo.licence}, "tags": []}
        if repo.model_type:
            info["config"] = {"model_type": repo.model_type}
        return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _described(self, path: str, data: bytes, *, blobs: bool) -> dict[str, Any]:
        described: dict[str, Any] = {"rfilename": path}
        if blobs:
            described |= {"size": len(data), "blobId": git_sha1(data)}
            if path.endswith(LARGE):
                described["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        return described

    def _resolve(self, name: str, rest: str) -> None:
        revision, _, file = rest.partition("/")
        self.request_log.file = None if file.endswith(LARGE) else file
        if self._refused(name, file=True):
            return
        repo = self._commit(name, revision)
        if repo is None:
            return
        if file not in repo.files or file in self.hub.faults.missing:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif file.endswith(LARGE):
            data = repo.files[file]
            linked = {
                "X-Linked-Etag": f'"{sha256(data)}"',
                "X-Linked-Size": str(len(data)),
                "ETag": f'"{git_sha1(data)}"',
            }
            location = f"{self.hub.storage}/storage/{name.replace('/', '--')}/{file}"
            self._send(302, b"", linked | {"X-Repo-Commit": repo.commit, "Location": location})
        else:
            self._file(repo, file)

    def _file(self, repo: Repo, file: str) -> None:
        self.request_log.file = file
        faults = self.hub.faults
        if faults.statuses:
            return self._send(faults.statuses.pop(0), b"")
        data = faults.bodies.get(file, repo.files[file])
        headers = {"ETag": f'"{git_sha1(data)}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        begin, status = 0, 200
        if self.headers.get("Range") and not faults.no_ranges:
            begin = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            if begin >= len(data):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        cuts = faults.cuts.get(file)
        return self._send(status, data[begin:], headers, cut=cuts.pop(0) if cuts else None, hold=faults.hold.get(file))

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *,
        cut: int | None = None, hold: int | None = None,
    ) -> None:  # fmt: skip
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(body) if cut is None else min(cut, len(body))
        for start in range(0, end, PIECE):
            piece = body[start : min(start + PIECE, end)]
            try:
                self.wfile.write(piece)
                self.wfile.flush()
            except OSError:  # who asked is dead
                self.close_connection = True
                return
            self.request_log.sent += len(piece)
            if hold is not None and self.request_log.sent >= hold and not self.hub.faults.go_on.is_set():
                self.hub.faults.held.set()
                self.hub.faults.go_on.wait(60)
        if cut is not None:
            self.close_connection = True


def allow_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of a test, connections from Python reach servers on 127.0.0.1 and nothing else."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", f"a test tried to connect to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
