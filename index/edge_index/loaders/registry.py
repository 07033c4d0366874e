"""Which loader reads a file, by its suffix. One module a format, imported when it is needed.

What has a structure that hostile files could use against us is parsed in a child process (`isolation`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from edge.errors import DocumentError
from edge_index.loaders.extracted import Extracted, storable

FORMATS_FOR_PEOPLE = (
    "text, Markdown, reStructuredText, LaTeX, HTML, PDF, DOCX, PPTX, XLSX, EPUB, e-mail (EML, MBOX), CSV, JSON, "
    "notebooks and source code"
)


_FORMATS: dict[str, str] = {
    "plain.text": ".txt .text .log",
    "markup.markdown": ".md .markdown .mdown .mkd",
    "markup.rst": ".rst .rest",
    "markup.latex": ".tex .ltx",
    "markup.html": ".html .htm .xhtml",
    "pdf.pages": ".pdf",
    "office.docx": ".docx .docm",
    "office.pptx": ".pptx .pptm .ppsx",
    "office.xlsx": ".xlsx .xlsm",
    "markup.epub": ".epub",
    "plain.mail": ".eml .mbox",
    "plain.notebook": ".ipynb",
    "plain.tables": ".csv .tsv",
    "plain.json": ".jsonl .ndjson .json",
    "plain.python": ".py .pyi",
    "plain.code": (
        ".js .mjs .cjs .jsx .ts .tsx .vue .svelte .css .scss .c .h .cc .cpp .cxx .hh .hpp .cs .fs "
        ".java .kt .kts .scala .clj .gradle .go .rs .rb .php .swift .dart .zig .nim .hs .ml .ex .exs .erl "
        ".lua .r .jl .pl .pm .sh .bash .zsh .fish .ps1 .sql .proto .cmake .tf "
        ".toml .yaml .yml .ini .cfg .conf .xml"
    ),
}
# Suffix, lower case with its dot -> module of this package.
SUFFIXES: Mapping[str, str] = MappingProxyType(
    {suffix: module for module, suffixes in _FORMATS.items() for suffix in suffixes.split()}
)
# Linear in the size of the file and without a parser that recurses: these need no child process.
_HARMLESS = frozenset(("plain.text", "plain.tables", "plain.json", "plain.code"))
_VERBATIM = frozenset(("markup.markdown", "plain.code", "plain.python"))
"""Formats whose text is what stands in the file."""


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
    module = f"{__package__}.{name}"
    if name in _HARMLESS:
        return parse(module, path, data)
    from edge_index.loaders.isolation import parent

    return parent.shared().read(module, path, data)


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
    from edge_index.loaders.isolation import parent

    parent.shared().close()


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
