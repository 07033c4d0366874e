"""One wheel from a Python package index, for environments that uv and pipx make: there is no pip in them.

The simple repository API (PEP 503 and PEP 691: https://packaging.python.org/en/latest/specifications/simple-repository-api/)
over urllib, with the indexes, links, proxies and certificates that uv and pip are configured with.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import json
import os
import shutil
import ssl
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from time import sleep
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener, url2pathname

from edge.errors import DownloadError

PYPI = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_CHUNK = 1 << 18
_TRIES = 4  # in a row without a single byte
_LARGEST_PAGE = 64 << 20


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where wheels are looked for, in this order: folders or pages of links, then indexes; and how they are reached."""

    links: tuple[str, ...]
    indexes: tuple[str, ...]
    proxy: str | None
    certificates: str | None
    timeout: float


@dataclass(frozen=True, slots=True)
class _Link:
    url: str
    sha256: str | None


def index_settings(environment: Mapping[str, str] | None = None) -> IndexSettings:
    """What UV_* and PIP_* variables, uv.toml and pip.conf say, the variables first."""
    environment = os.environ if environment is None else environment
    pip, uv = _pip_conf(environment), _uv_toml(environment)

    def first(*names: str) -> str | None:
        return next((value for name in names if (value := environment.get(name))), None)

    def every(*names: str) -> list[str]:
        return [word for name in names for word in (environment.get(name) or "").split()]

    default = first("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL") or uv.get("index-url") or pip.get("index-url")
    more = every("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    more += [*uv.get("extra-index-url", []), *pip.get("extra-index-url", "").split()]
    links = every("UV_FIND_LINKS", "PIP_FIND_LINKS")
    links += [*uv.get("find-links", []), *pip.get("find-links", "").split()]
    alone = (first("UV_NO_INDEX", "PIP_NO_INDEX") or pip.get("no-index", "")).lower() in ("1", "true", "yes", "on")
    indexes = [] if alone else [*(url.partition("=")[2] if _is_named(url) else url for url in more), default or PYPI]
    return IndexSettings(
        links=tuple(dict.fromkeys(links)),
        indexes=tuple(dict.fromkeys(indexes)),
        proxy=first("PIP_PROXY") or pip.get("proxy"),
        certificates=first("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") or pip.get("cert"),
        timeout=float(first("UV_HTTP_TIMEOUT", "PIP_DEFAULT_TIMEOUT") or 30),
    )


def fetch_wheel(
    project: str,
    filename: str,
    size: int,
    out: Path,
    report: Callable[[int], None],
    settings: IndexSettings | None = None,
) -> None:
    """Write the wheel `filename` of a project to `out`, going on behind what stands there already; `report` is given
    the bytes that are there.

    Its `size` and the SHA-256 that the index names are checked. Raises DownloadError with the reason; what has come
    stays in `out` unless it is wrong.
    """
    settings = settings or index_settings()
    opener = _opener(settings)
    link = _find(opener, settings, project, filename)
    if local := _local(link.url):
        shutil.copyfile(local, out)
        report(out.stat().st_size)
    else:
        with out.open("ab") as stream:
            _download(opener, link.url, size, stream, report, settings.timeout)
    problem = _problem(out, size, link.sha256)
    if problem:
        out.unlink()
        raise DownloadError(f"what {_host(link.url)} sent is not {filename}: {problem}; nothing of it was kept")


def _find(opener: OpenerDirector, settings: IndexSettings, project: str, filename: str) -> _Link:
    """Where the wheel lies. Raises DownloadError: who has no such file, and who cannot be asked."""
    refused = []
    pages = [*settings.links, *(f"{index.rstrip('/')}/{project}/" for index in settings.indexes)]
    for page in pages:
        try:
            for name, link in _links(opener, page, settings.timeout):
                if name == filename:
                    return replace(link, url=_with_login(link.url, page))
            refused.append(f"{_host(page)} has no {filename}")
        except HTTPError as error:
            refused.append(
                f"{_host(page)} has no {project}" if error.code == 404 else f"{_host(page)} answers {error.code}"
            )
        except (OSError, HTTPException, ValueError) as error:
            refused.append(f"{_host(page)} cannot be reached: {_reason(error)}")
    raise DownloadError("; ".join(dict.fromkeys(refused)) or "no index is configured")


def _links(opener: OpenerDirector, page: str, timeout: float) -> Iterator[tuple[str, _Link]]:
    """(name of a file, where it lies) for every link of a folder or page."""
    folder = _local(page)
    if folder is not None:
        if not folder.is_dir():
            yield from _from_html(folder.read_text(encoding="utf-8"), folder.as_uri())
        elif (folder / "index.html").is_file():
            yield from _from_html((folder / "index.html").read_text(encoding="utf-8"), f"{folder.as_uri()}/")
        else:
            yield from ((file.name, _Link(file.as_uri(), None)) for file in folder.iterdir())
        return
    with _open(opener, page, timeout, {"Accept": _ACCEPT}) as (body, headers, url):
        text = body.read(_LARGEST_PAGE).decode("utf-8", "replace")
    if "json" in headers.get_content_type():
        for file in json.loads(text)["files"]:
            yield file["filename"], _Link(urljoin(url, file["url"]), file.get("hashes", {}).get("sha256"))
    else:
        yield from _from_html(text, url)


def _from_html(text: str, base: str) -> Iterator[tuple[str, _Link]]:
    found: list[str] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if tag == "a" and name == "href" and value)

    Anchors().feed(text)
    for href in found:
        url, fragment = urldefrag(urljoin(base, href))
        sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
        yield unquote(urlsplit(url).path.rpartition("/")[2]), _Link(url, sha256)


def _download(
    opener: OpenerDirector, url: str, size: int, out: IO[bytes], report: Callable[[int], None], timeout: float
) -> None:
    """Append what `out` lacks; a connection that breaks is taken up again as long as bytes arrive."""
    failures, reached = 0, out.tell()
    while out.tell() < size:
        broken: Exception | None = None
        try:
            _stream(opener, url, size, out, report, timeout)
        except HTTPError as error:
            if error.code == 416:  # it has less than we do
                out.truncate(0)
            elif error.code < 500:
                raise DownloadError(f"{_host(url)} answers {error.code} for {url.rpartition('/')[2]}") from error
            broken = error
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.filename:  # our own file
                raise
            broken = error
        failures = 0 if out.tell() > reached else failures + 1
        reached = out.tell()
        if failures == _TRIES:
            raise DownloadError(
                f"the connection to {_host(url)} broke ({_reason(broken)}) after {reached:,} of {size:,} bytes"
            ) from broken
        sleep(failures)


def _stream(
    opener: OpenerDirector, url: str, size: int, out: IO[bytes], report: Callable[[int], None], timeout: float
) -> None:
    # A compressed body could not be resumed at a byte of the file.
    headers, begin = {"Accept-Encoding": "identity"}, out.tell()
    if begin:
        headers["Range"] = f"bytes={begin}-"
    with _open(opener, url, timeout, headers) as (body, answered, _):
        if begin and not (answered.get("Content-Range") or "").startswith(f"bytes {begin}-"):
            out.truncate(0)  # it sends the whole file
        while out.tell() <= size and (chunk := body.read(_CHUNK)):
            out.write(chunk)
            report(min(out.tell(), size))


class _open:  # noqa: N801 - used as a function
    """An answer: (its body, its headers, its address after redirects)."""

    def __init__(self, opener: OpenerDirector, url: str, timeout: float, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        request = Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), headers=dict(headers))
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            # Not for the host that a redirect leads to.
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        self._response = opener.open(request, timeout=timeout)

    def __enter__(self) -> tuple[IO[bytes], HTTPMessage, str]:
        return self._response, self._response.headers, self._response.geturl()

    def __exit__(self, *_: object) -> None:
        self._response.close()


def _opener(settings: IndexSettings) -> OpenerDirector:
    """urllib honours HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR by itself."""
    proxies = None if settings.proxy is None else {"http": settings.proxy, "https": settings.proxy}
    try:
        context = ssl.create_default_context(cafile=settings.certificates)
    except OSError as error:
        raise DownloadError(f"the certificates in {settings.certificates} cannot be read ({error})") from error
    return build_opener(ProxyHandler(proxies), HTTPSHandler(context=context))


def _problem(file: Path, size: int, sha256: str | None) -> str | None:
    if file.stat().st_size != size:
        return f"{file.stat().st_size:,} bytes instead of {size:,}"
    if sha256 is not None:
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                return "its SHA-256 differs from that of the index"
    return None


def _with_login(url: str, page: str) -> str:
    """`url` with user and password of the page that names it, where both lie on one host."""
    target, source = urlsplit(url), urlsplit(page)
    login, at, host = source.netloc.rpartition("@")
    return urlunsplit(target._replace(netloc=f"{login}{at}{host}")) if target.netloc == host else url


def _local(where: str) -> Path | None:
    """The folder or file of a path or a file:// address; None for what lies on a network."""
    if where.startswith("file:"):
        return Path(url2pathname(urlsplit(where).path))
    return None if "://" in where else Path(where).expanduser().absolute()


def _host(url: str) -> str:
    """Who is asked, without user and password."""
    local = _local(url)
    return str(local) if local is not None else urlsplit(url).netloc.rpartition("@")[2]


def _reason(error: Exception | None) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return str(cause or "nothing more came").rstrip(".") or type(cause).__name__


def _is_named(url: str) -> bool:
    """NAME=URL, as uv has them."""
    return url.partition("=")[0].replace("-", "").replace("_", "").isalnum()


def _pip_conf(environment: Mapping[str, str]) -> dict[str, str]:
    """[global] and after it [download] of pip's files, the environment's own last: later ones win."""
    import platformdirs

    given = environment.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return {}
    user = Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True))
    sites = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    folders = [Path("/etc"), *(Path(site) / "pip" for site in [*sites, "/Library/Application Support"])]
    folders += [Path.home() / ".pip", user, Path(sys.prefix)]
    names = [folder / name for folder in folders for name in ("pip.conf", "pip.ini")]
    found: dict[str, str] = {}
    for file in [*names, *([Path(given)] if given else [])]:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        for section in ("global", "download"):
            if parser.has_section(section):
                found |= dict(parser.items(section))
    return found


def _uv_toml(environment: Mapping[str, str]) -> dict[str, Any]:
    """uv.toml of the system and over it that of the user; [[index]] as the older names say it."""
    import platformdirs

    found: dict[str, Any] = {}
    given = environment.get("UV_CONFIG_FILE")
    user = Path(platformdirs.user_config_dir("uv", appauthor=False)) / "uv.toml"
    for file in [Path(given)] if given else [Path("/etc/uv/uv.toml"), user]:
        try:
            found |= tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    for index in found.get("index", []):
        if index.get("default"):
            found["index-url"] = index["url"]
        else:
            found["extra-index-url"] = [*found.get("extra-index-url", []), index["url"]]
    return found
