"""The Hugging Face hub over HTTP: what a repository holds, and the bytes of a file from where they were cut.

huggingface_hub gives the list of files, the headers and the connection. Its own downloads (2.x) begin anew after a cut
and check no hash, so that the bytes are taken here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import IO, Any, NoReturn
from urllib.parse import quote, urlsplit

from edge.errors import DownloadError, MissingExtra, UsageError
from edge.system.offline import silence
from edge_tui.hub.selection import RemoteFile, Repository
from edge_tui.hub.starter import PullProgress, Report

_TRIES = 4  # in a row without a single byte
_LOG_ERRORS = 40


@contextmanager
def online() -> Iterator[Hub]:
    """huggingface_hub with a network, in here only: before and after, the process is offline. Not for two threads."""
    silence()
    try:
        import httpx2
        from huggingface_hub import close_session, constants, get_session
        from huggingface_hub.utils import logging
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub") from error
    offline, verbosity = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    constants.HF_HUB_OFFLINE = False
    logging.set_verbosity(_LOG_ERRORS)
    hub = Hub()
    try:
        try:
            get_session()
        except (ImportError, ValueError) as error:
            raise DownloadError(f"the proxy that HTTPS_PROXY or ALL_PROXY names cannot be used: {error}") from error
        yield hub
    except httpx2.RequestError as error:
        raise DownloadError(
            f"{hub.host} cannot be reached ({_reason(error)}); connect to the network and run it again: "
            "it goes on where it stopped"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(verbosity)
        close_session()


class Hub:
    """The hub that HF_ENDPOINT names. Only inside `online`."""

    def __init__(self) -> None:
        from huggingface_hub import constants

        self.endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self.host = urlsplit(self.endpoint).hostname or self.endpoint

    def look(self, name: str, revision: str | None) -> Repository:
        """The files of a repository at `revision` (a branch, a tag or a commit). Raises DownloadError."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            info = HfApi(endpoint=self.endpoint).model_info(
                name, revision=revision, files_metadata=True, timeout=_timeout()
            )
        except HFValidationError as error:
            raise UsageError(f"{name!r} is no name of a repository; they look like OWNER/NAME") from error
        except HfHubHTTPError as error:
            self.explain(error, name, f"revision {revision}" if revision else "model")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # Whatever answered with 200 speaks no hub: the page of a proxy or a hotel.
            raise DownloadError(
                f"{self.host} answered, but not as a Hugging Face hub does; look whether a login page or a proxy "
                "stands in between"
            ) from error
        card = info.card_data
        return Repository(
            name=name,
            commit=info.sha or revision or "main",
            files=tuple(_remote_file(name, sibling) for sibling in info.siblings or ()),
            licence=str(card.get("license_name") or card.get("license") or "") or None if card else None,
            model_type=(info.config or {}).get("model_type"),
            gated=bool(info.gated),
        )

    def fetch(self, repository: Repository, file: RemoteFile, out: IO[bytes], report: Report) -> None:
        """Append what `out` lacks of `file`; a connection that breaks is taken up again while bytes arrive."""
        import httpx2

        failures, reached = 0, out.tell()
        while out.tell() < file.bytes:
            broken: httpx2.TransportError | None = None
            try:
                self._stream(repository, file, out, report)
            except httpx2.TransportError as error:
                broken = error
            failures = 0 if out.tell() > reached else failures + 1
            reached = max(reached, out.tell())
            if failures == _TRIES:
                raise DownloadError(
                    f"the connection to {self.host} broke ({_reason(broken)}) after {out.tell():,} of "
                    f"{file.bytes:,} bytes of {file.path}; run it again: it goes on where it stopped"
                ) from broken
            sleep(failures)

    def _stream(self, repository: Repository, file: RemoteFile, out: IO[bytes], report: Report) -> None:
        import httpx2
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError

        # Public by its documentation, but not by its type information.
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

        url = hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=self.endpoint)
        # A compressed body could not be resumed at a byte of the file.
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        begin = out.tell()
        if begin:
            headers["Range"] = f"bytes={begin}-"
        with get_session().stream("GET", url, headers=headers, timeout=_timeout()) as response:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
                out.seek(0)  # it sends the whole file, or has less than we do: begin anew
                out.truncate()
            if begin and response.status_code == 416:
                return
            if response.status_code >= 500:
                raise httpx2.RemoteProtocolError(f"status {response.status_code}")
            try:
                hf_raise_for_status(response)
            except HfHubHTTPError as error:
                self.explain(error, repository.name, file.path, gated=repository.gated)
            for chunk in response.iter_bytes():
                if out.tell() + len(chunk) > file.bytes:
                    raise DownloadError(f"{self.host} sends more of {file.path} than the {file.bytes:,} bytes it has")
                out.write(chunk)
                report(PullProgress("downloading", file.path, out.tell(), file.bytes))

    def explain(self, error: Any, name: str, what: str, *, gated: bool = False) -> NoReturn:
        """Raise the hub's refusal as one sentence."""
        from huggingface_hub import errors

        status = error.response.status_code
        page = f"{self.endpoint}/{quote(name)}"
        if isinstance(error, errors.GatedRepoError) or (gated and status in (401, 403)):
            said = (
                f"{name} is given only to those who accept its licence: accept it at {page}, set HF_TOKEN to a token "
                "of that account and run it again"
            )
        elif isinstance(error, errors.RevisionNotFoundError | errors.EntryNotFoundError):
            said = f"{name} has no {what} at {self.host} (404); look at {page} for what there is"
        elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
            said = (
                f"{self.host} has no {name}, or shows it only to some ({status}); look whether it is spelt as at "
                f"{self.endpoint}, or set HF_TOKEN to a token that may read it"
            )
        elif status == 429:
            said = f"{self.host} wants fewer requests (429); wait some minutes, or set HF_TOKEN, and run it again"
        else:
            said = f"{self.host} cannot give {what} of {name} now ({status}); run it again later: it goes on"
        raise DownloadError(said) from error


def _timeout() -> float:
    """Seconds of silence after which a connection counts as broken (HF_HUB_DOWNLOAD_TIMEOUT)."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _reason(error: Exception | None) -> str:
    return str(error or "nothing more came").rstrip(".") or type(error).__name__


def _remote_file(repository: str, sibling: Any) -> RemoteFile:
    path = str(sibling.rfilename)
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise DownloadError(f"{repository} lists a file called {path!r}, which would not land in its folder")
    size = sibling.lfs.size if sibling.lfs else sibling.size
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return RemoteFile(path, size or 0, sha256, sibling.blob_id)
