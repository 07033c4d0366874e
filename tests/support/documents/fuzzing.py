"""Mutated documents of every format, and what became of each: for the suite's short run and the long one by hand."""

from __future__ import annotations

import io
import random
import re
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from documents.seeds import SEEDS
from edge.errors import DocumentError
from edge_index.loaders import Extracted, load
from edge_index.loaders.isolation import parent

# What parsers trip over: structure, sizes, encodings, numbers at the edge.
_PIECES = (
    b"<", b">", b"&#xD800;", b"&amp;", b"]]>", b"<!--", b"<p>", b"</p>", b"{", b"}", b"[", b"]", b'"', b"\\", b"\n\n",
    b"\r", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"2147483648", b"-1", b"1e999", b"999999999999",
    b"0 R", b"endobj", b"stream\n", b"/Kids[2 0 R]", b"BT", b"Td", b"From x 2026\n", b"--x\n", b"=?utf-8?b?", b"base64",
    b"Content-Type: multipart/mixed; boundary=x\n", b"\\begin{", b"\\end{", b"\\section{", b"$", b"%", b"```\n", b"> ",
    b"- ", b"====\n", b".. ", b"def ", b"(", b")", b"'''", b"/*", b"*/", b"class ", b"#", b"\t", b" ", b"null", b"|",
    b"\xe2\x80\xa8", b"&a;", b'r="9999999"',
)  # fmt: skip
# Values that leave XML and JSON well-formed, so that what lies behind their parsers is reached too.
_ATTRIBUTE = re.compile(rb'(?<==")[^"<>]*(?=")|(?<=>)[^<>]+(?=<)')
_ATTRIBUTES = (
    b"",
    b"-1",
    b"0",
    b"7",
    b"99999999999",
    b"1.5e300",
    b"x",
    b"true",
    b"A1",
    b"rId1",
    b"../../x",
    b"\xc3\xbc" * 99,
)
_VALUE = re.compile(rb'"[^"]*"(?=\s*[,\]}])|\b\d+\b|null')
_VALUES = (
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"1e300",
    b'"x"',
    b"true",
    b'[["x"]]',
    b'{"text": 1}',
    b'"\\ud800"',
    b"[1, null]",
)
_ARCHIVES = (".docx", ".pptx", ".xlsx", ".epub")
LIMITS = parent.Limits(memory=512 * 2**20, seconds=5)


@dataclass(slots=True)
class Outcome:
    """What became of the mutants of one format; `peak` is the child's largest resident memory in bytes."""

    text: int = 0
    refused: int = 0
    limits: Counter[str] = field(default_factory=Counter)
    crashed: int = 0
    slowest: float = 0.0
    peak: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.text + self.refused + sum(self.limits.values()) + self.crashed


def mutants(suffix: str, seed: int) -> Iterator[bytes]:
    """Damaged copies of the real file of this format, without end, the same for the same seed."""
    chance = random.Random(f"{suffix} {seed}")
    good = SEEDS[suffix]()
    others = [make() for other, make in SEEDS.items() if (other in _ARCHIVES) == (suffix in _ARCHIVES)]
    while True:
        if suffix in _ARCHIVES and chance.random() < 0.8:
            yield _inside(good, chance, others)
        elif suffix in (".ipynb", ".json") and chance.random() < 0.7:
            yield _changed(good, chance, _VALUE, _VALUES)
        else:
            yield _damaged(good, chance, others)


def _inside(archive: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The archive packed again with one or two of its files damaged, left out or doubled."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        hurt = chance.sample(names, min(2, len(names)))
        for name in names:
            content = old.read(name)
            if name in hurt and chance.random() < 0.1:
                continue
            if name in hurt and chance.random() < 0.6:
                content = _changed(content, chance, _ATTRIBUTE, _ATTRIBUTES)
            elif name in hurt:
                content = _damaged(content, chance, others)
            new.writestr(name, content)
    return file.getvalue()


def _changed(good: bytes, chance: random.Random, places: re.Pattern[bytes], values: Sequence[bytes]) -> bytes:
    """Some values replaced by others."""
    found = list(places.finditer(good))
    for match in sorted(chance.sample(found, min(len(found), chance.choice((1, 2, 8)))), key=lambda m: -m.start()):
        good = good[: match.start()] + chance.choice(values) + good[match.end() :]
    return good


def _damaged(good: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 4, 32, 512)))
        match chance.randrange(9):
            case 0:
                data[at:end] = chance.randbytes(end - at)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = chance.choice(_PIECES)
            case 3:
                data[at:at] = chance.choice(_PIECES) * chance.choice((2, 50, 2000))
            case 4:
                data[at:at] = data[at:end] * chance.choice((1, 8, 64))
            case 5:
                data = data[:at] if chance.random() < 0.2 else data
            case 6:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                data[at:end] = other[start : start + 512]
            case 7 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 8:
                to = chance.randrange(len(data) + 1)
                data[at:at] = data[to : to + 64]
    return bytes(data)


def fuzz(suffix: str, reader: parent.Reader, *, count: int, seconds: float, seed: int) -> Outcome:
    """Read up to `count` mutants for up to `seconds`, through `load` as the index does."""
    outcome = Outcome()
    path = Path(f"fuzzed{suffix}")
    deadline = time.monotonic() + seconds
    original, parent.shared = parent.shared, lambda: reader  # type: ignore[assignment]  # its limits are ours
    try:
        for number, data in zip(range(count), mutants(suffix, seed), strict=False):
            before = time.monotonic()
            if before > deadline:
                break
            _one(path, data, outcome)
            outcome.slowest = max(outcome.slowest, time.monotonic() - before)
            if number % 20 == 0 or outcome.wrong:
                outcome.peak = max(outcome.peak, _peak(reader))
    finally:
        parent.shared = original
    return outcome


def _one(path: Path, data: bytes, outcome: Outcome) -> None:
    try:
        problem = _problem(load(path, data))
    except DocumentError as error:
        said = str(error)
        known = {
            "time": "s that reading it may take", "memory": "memory", "output": "million characters", "size": "unpacks",
        }  # fmt: skip
        limit = next((name for name, words in known.items() if words in said), None)
        if "crashed the program" in said:
            outcome.crashed += 1
        elif limit:
            outcome.limits[limit] += 1
        else:
            outcome.refused += 1
        problem = "" if said.startswith(str(path)) and "\n" not in said else f"its error reads {said!r}"
    else:
        outcome.text += 1
    if problem:
        outcome.wrong.append(problem)


def _problem(extracted: Extracted) -> str:
    """What is wrong with a text that was read: sections out of order or out of it, or what no database takes."""
    position = 0
    for section in extracted.sections:
        if not position <= section.start < section.end <= len(extracted.text):
            return f"section {section} stands wrong behind {position}"
        position = section.end
    with suppress(UnicodeEncodeError):
        extracted.text.encode()
        return "" if "\x00" not in extracted.text and extracted.text.strip() else "zeros or nothing"
    return "halves of surrogate pairs"


def _peak(reader: parent.Reader) -> int:
    """The most memory that the child has taken, 0 where that cannot be told."""
    child = reader._child
    try:
        status = Path(f"/proc/{child._process.pid}/status").read_text() if child else ""
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines())
    return next((int(line[1]) * 1024 for line in lines if line[0] == "VmHWM:"), 0)
