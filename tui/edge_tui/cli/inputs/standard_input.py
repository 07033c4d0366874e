"""What comes on standard input: the question where none was given, else a document to answer from."""

from __future__ import annotations

import os
import stat
import sys
import threading
import zipfile
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from edge.errors import DocumentError

if TYPE_CHECKING:
    from edge_index import Index

HERE = Path("-")
"""What `--docs` is given to read standard input."""
NAME = "standard input"
"""What citations call the document."""
WAIT = 3.0
"""Seconds until a pipe on which nothing comes is taken for one that belongs to somebody else."""

_CHUNK = 1 << 16
_MEMBERS = {"word/document.xml": ".docx", "ppt/presentation.xml": ".pptx", "xl/workbook.xml": ".xlsx"}


def read_question() -> str | None:
    """The whole of standard input; None at a terminal, or where there is none."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def save_document(folder: Path, *, demanded: bool) -> Path | None:
    """Write what comes on standard input into a new file of `folder`, with the ending that its content calls for.

    Where it was not `demanded`, only what was evidently meant for us is read: a file that nobody has begun to read, or
    a pipe on which something comes within `WAIT` seconds. A terminal, /dev/null, a closed descriptor and an empty file
    are no document; scripts, cron and servers hand those down, and a pipe that stays silent for ever. Raises UsageError
    where nothing came that was demanded.
    """
    file = folder / NAME
    size = _save(file, demanded) if demanded or _is_meant() else 0
    if size > _CHUNK or (size and file.read_bytes().strip()):
        return file.rename(file.with_suffix(_suffix(file)))
    if demanded:
        raise click.UsageError('nothing came on standard input; try: cat FILE | edge ask "…" --docs -')
    return None


def add_document(index: Index, file: Path) -> None:
    """Put the file of `save_document` into an index. Raises DocumentError for what is no text and no known format."""
    from edge_index.loaders import load
    from edge_tui.cli.inputs.resources import add_documents

    if file.suffix != ".txt":
        if add_documents(index, [file]).failed:
            raise DocumentError(f"what came on {NAME} cannot be read as {file.suffix[1:]}; the reason stands above")
        return
    try:
        text = load(file, file.read_bytes()).text
    except DocumentError as error:
        raise DocumentError(
            f"what came on {NAME} is no text, nor PDF, DOCX, PPTX, XLSX, EPUB or HTML; save it under a name with its "
            "ending and give that to --docs"
        ) from error
    index.add_text(text, name=NAME)


def _is_meant() -> bool:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return False
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # no file of the system's: a test's, or that of a program that runs us
        return True
    if stat.S_ISREG(mode):
        # In `while read line; do edge ask "$line"; done < FILE` the rest of the file is the loop's.
        return os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _save(file: Path, demanded: bool) -> int:
    """The bytes that came; 0 where a pipe stays silent, which is told."""
    from edge_tui.cli.output import warn

    if sys.stdin is None or sys.stdin.closed:
        return 0
    begun, size = threading.Event(), Future[int]()
    reader = threading.Thread(target=_copy, args=(sys.stdin.buffer, file, begun, size), name="stdin", daemon=True)
    reader.start()
    if not begun.wait(None if demanded else WAIT):
        warn(f"Nothing came on {NAME} for {WAIT:g} seconds: it is left alone. --docs - waits for it.")
        return 0
    return size.result()


def _copy(source: IO[bytes], file: Path, begun: threading.Event, size: Future[int]) -> None:
    """Write all that comes into `file`; `begun` is set with the first of it, or at once at the end."""
    try:
        first = _first(source)
        begun.set()
        done = len(first)
        with file.open("wb") as out:
            out.write(first)
            while first and (chunk := source.read(_CHUNK)):
                done += out.write(chunk)
        size.set_result(done)
    except BaseException as error:  # whatever it was, it is raised where the size is asked for
        size.set_exception(error)
        begun.set()


def _first(source: IO[bytes]) -> bytes:
    """The first byte; none where what stands in for standard input cannot be read."""
    try:
        return source.read(1)
    except OSError:
        return b""


def _suffix(file: Path) -> str:
    """The ending that fits the content; ".txt" for what is no format that has a mark of its own."""
    with file.open("rb") as stream:
        head = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if head.lower().startswith((b"<!doctype html", b"<html")):
        return ".html"
    if head.startswith(b"PK") and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        if "META-INF/container.xml" in names:
            return ".epub"
        return next((ending for member, ending in _MEMBERS.items() if member in names), ".txt")
    return ".txt"
