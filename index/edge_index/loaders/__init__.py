"""Files of many formats -> one text with its sections. One module a format, imported when it is needed.

What has a structure that hostile files could use against us is parsed in a child process (`isolation`).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from edge.errors import DocumentError

__all__ = ["FORMATS_FOR_PEOPLE", "SUFFIXES", "Extracted", "Section", "close", "load", "parse", "supported"]

FORMATS_FOR_PEOPLE = (
    "text, Markdown, reStructuredText, LaTeX, HTML, PDF, DOCX, PPTX, XLSX, EPUB, e-mail (EML, MBOX), CSV, JSON, "
    "notebooks and source code"
)


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch `text[start:end]` under one heading path ("Results > Yield") or on one page (from 1).

    The heading of code is a dotted name ("Parser.parse"), that of rows of a spreadsheet their range in the
    spreadsheet's own words ("Prices!A2:D9").
    """

    start: int
    end: int
    heading: str | None
    page: int | None


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document. Every position anywhere refers to `text`.

    Sections stand in order and do not overlap; what no section covers has no heading. `pages` is None where
    the format has none. `by_line` says that lines, not sentences, are the units: source code and tables.
    `notes` tell a person what of the file is not in the text ("pages 3, 7 hold no text (scanned?)").
    """

    text: str
    sections: tuple[Section, ...] = ()
    pages: int | None = None
    by_line: bool = False
    notes: tuple[str, ...] = ()


_FORMATS: dict[str, str] = {
    "text": ".txt .text .log",
    "markdown": ".md .markdown .mdown .mkd",
    "rst": ".rst .rest",
    "tex": ".tex .ltx",
    "html": ".html .htm .xhtml",
    "pdf": ".pdf",
    "docx": ".docx .docm",
    "pptx": ".pptx .pptm .ppsx",
    "xlsx": ".xlsx .xlsm",
    "epub": ".epub",
    "mail": ".eml .mbox",
    "notebook": ".ipynb",
    "tables": ".csv .tsv",
    "json": ".jsonl .ndjson .json",
    "python": ".py .pyi",
    "code": (
        ".js .mjs .cjs .jsx .ts .tsx .vue .svelte .css .scss .c .h .cc .cpp .cxx .hh .hpp .cs .fs "
        ".java .kt .kts .scala .clj .gradle .go .rs .rb .php .swift .dart .zig .nim .hs .ml .ex .exs .erl "
        ".lua .r .jl .pl .pm .sh .bash .zsh .fish .ps1 .sql .proto .cmake .tf "
        ".toml .yaml .yml .ini .cfg .conf .xml"
    ),
}
# Suffix, lower case with its dot -> name of the module in this folder.
SUFFIXES: Mapping[str, str] = MappingProxyType(
    {suffix: module for module, suffixes in _FORMATS.items() for suffix in suffixes.split()}
)
# Linear in the size of the file and without a parser that recurses: these need no child process.
_HARMLESS = frozenset(("text", "tables", "json", "code"))
_VERBATIM = frozenset(("markdown", "code", "python"))
"""Formats whose text is what stands in the file."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def supported(path: Path) -> bool:
    """Whether there is a loader for files with this suffix."""
    return path.suffix.lower() in SUFFIXES


def load(path: Path, data: bytes) -> Extracted:
    """The text of the file `path`, whose content is `data`; the file itself is not opened.

    The suffix chooses the loader, the content is checked. Formats with a structure are parsed by a child
    process under limits of time, memory and output; one child serves all calls, from any thread, until
    `close` or the end of this process. Raises DocumentError, which names the file, where the format is not
    known, the file is empty, holds no text, is damaged, is protected by a password or meets a limit.
    """
    name = SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise DocumentError(f"{path} has no suffix that edge can read; convert it to text, Markdown, HTML or PDF")
    if not data.strip():
        raise DocumentError(f"{path} is empty; put text into it or take it out of the folder")
    module = f"{__name__}.{name}"
    if name in _HARMLESS:
        return parse(module, path, data)
    from edge_index.loaders import isolation

    return isolation.shared().read(module, path, data)


def given(name: str, text: str) -> Extracted:
    """A text that comes without a file, as it is; under a name that ends like that of a Markdown file or of source
    code it has those sections. Raises DocumentError for a text without words."""
    plain = storable(Extracted(text))
    if not plain.text.strip():
        raise DocumentError(f"the text for {name} is empty; give one with words in it")
    if SUFFIXES.get(Path(name).suffix.lower()) in _VERBATIM:
        try:
            found = load(Path(name), plain.text.encode())
        except DocumentError:  # it is not what its name says, and still a text
            return plain
        if found.text == plain.text:
            return found
    return plain


def close() -> None:
    """End the child process, if there is one; the next `load` that needs one starts another."""
    from edge_index.loaders import isolation

    isolation.shared().close()


def parse(module: str, path: Path, data: bytes) -> Extracted:
    """What the loader of this name makes of the file, in this process. Raises DocumentError as `load` does."""
    loader = importlib.import_module(module)
    try:
        extracted: Extracted = loader.load(path, data)
    except DocumentError:
        raise
    except MemoryError:
        raise DocumentError(f"{path} needs more memory than reading a file may take; split it") from None
    except Exception as error:  # The one wall: parsers of hostile files raise whatever they like,
        # and one bad file must never keep the others of its folder out of the index.
        said = " ".join(str(error).split())[:200]
        raise DocumentError(
            f"{path} cannot be read ({type(error).__name__}: {said}); it is damaged or not what its "
            "suffix says: open it in its own program and save it again"
        ) from error
    if not extracted.text.strip():
        raise DocumentError(f"{path} is empty: it holds no text; put some in or take it out of the folder")
    return storable(extracted)


def storable(extracted: Extracted) -> Extracted:
    """Without halves of surrogate pairs and zeros, which a database refuses; no position changes."""
    if not _UNSTORABLE.search(extracted.text) and not any(
        section.heading and _UNSTORABLE.search(section.heading) for section in extracted.sections
    ):
        return extracted
    sections = tuple(
        replace(section, heading=section.heading and _UNSTORABLE.sub("\ufffd", section.heading))
        for section in extracted.sections
    )
    return replace(extracted, text=_UNSTORABLE.sub("\ufffd", extracted.text), sections=sections)
