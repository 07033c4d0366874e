"""Files of many formats -> one text with its sections. One module a format, imported when it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edge.errors import DocumentError

__all__ = ["SUFFIXES", "Extracted", "Section", "load", "supported"]


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch `text[start:end]` under one heading path ("Results > Yield") or on one page (from 1)."""

    start: int
    end: int
    heading: str | None
    page: int | None


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document. Every position anywhere refers to `text`.

    Sections stand in order and do not overlap; what no section covers has no heading. `pages` is None where
    the format has none. `by_line` says that lines, not sentences, are the units: source code and tables.
    """

    text: str
    sections: tuple[Section, ...] = ()
    pages: int | None = None
    by_line: bool = False


_FORMATS: dict[str, str] = {
    "text": ".txt .text .log",
    "markdown": ".md .markdown .mdown .mkd",
    "rst": ".rst .rest",
    "html": ".html .htm .xhtml",
    "pdf": ".pdf",
    "docx": ".docx",
    "tables": ".csv .tsv .jsonl .ndjson .json",
    "code": (
        ".py .pyi .js .mjs .cjs .jsx .ts .tsx .vue .svelte .css .scss .c .h .cc .cpp .cxx .hh .hpp .cs .fs "
        ".java .kt .kts .scala .clj .gradle .go .rs .rb .php .swift .dart .zig .nim .hs .ml .ex .exs .erl "
        ".lua .r .jl .pl .pm .sh .bash .zsh .fish .ps1 .sql .proto .cmake .tf .tex "
        ".toml .yaml .yml .ini .cfg .conf .xml"
    ),
}
# Suffix, lower case with its dot -> name of the module in this folder.
SUFFIXES: Mapping[str, str] = MappingProxyType(
    {suffix: module for module, suffixes in _FORMATS.items() for suffix in suffixes.split()}
)


def supported(path: Path) -> bool:
    """Whether there is a loader for files with this suffix."""
    return path.suffix.lower() in SUFFIXES


def load(path: Path, data: bytes) -> Extracted:
    """The text of the file `path`, whose content is `data`; the file itself is not opened.

    The suffix chooses the loader, the content is checked. Raises DocumentError, which names the file, where
    the format is not known, the file is empty, holds no text, is damaged or is protected by a password.
    """
    module = SUFFIXES.get(path.suffix.lower())
    if module is None:
        raise DocumentError(f"{path} has no suffix that edge can read; convert it to text, Markdown, HTML or PDF")
    if not data.strip():
        raise DocumentError(f"{path} is empty; put text into it or take it out of the folder")
    loader = importlib.import_module(f"{__name__}.{module}")
    try:
        extracted: Extracted = loader.load(path, data)
    except DocumentError:
        raise
    except MemoryError:
        raise DocumentError(f"{path} is too large for this machine's memory; split it") from None
    except Exception as error:  # The one wall: parsers of hostile files raise whatever they like,
        # and one bad file must never keep the others of its folder out of the index.
        raise DocumentError(
            f"{path} cannot be read ({type(error).__name__}: {error}); it is damaged or not what its "
            "suffix says: open it in its own program and save it again"
        ) from error
    if not extracted.text.strip():
        raise DocumentError(f"{path} is empty: it holds no text; put some in or take it out of the folder")
    return extracted
