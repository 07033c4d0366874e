"""A second real set for the benchmarks: the FAQs of four Debian packages, questions by people, answers as documents.

    apt-get download perl-doc python3.11-doc debian-faq anarchism
    for package in *.deb; do dpkg -x $package packages; done
    python tests/benchmarks/faq_set.py packages FOLDER

Writes FOLDER/docs/*.txt, a file a chapter, **without the headings**, which are the questions: what is left is the
answers' own words. FOLDER/questions.jsonl has one line a question with its whole answer as the one that is right.
Documents that lie in one FAQ begin with the same word: `perl-`, `python-`, `debian-`, `anarchism-`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

SOURCES = {
    "perl": "usr/share/perl/*/pod/perlfaq[1-9].pod",
    "python": "usr/share/doc/python3.11/html/faq/*.html",
    "debian": "usr/share/doc/debian/FAQ/*.en.html",
    "anarchism": "usr/share/doc/anarchism/html/sec[AB][0-9].html",
}
_NUMBER = re.compile(r"^\s*[A-Z]?[\d.]+\s+")
_BLOCKS = frozenset("p pre li dt dd tr blockquote div section".split())
_ASIDE = frozenset("script style nav title".split())


class _Blocks(HTMLParser):
    """Blocks of a page in order: ("heading" or "text", the words)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[tuple[str, str]] = []
        self._kind, self._parts, self._aside, self._pre = "text", [""], 0, False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._aside += tag in _ASIDE
        if tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
            self.end(f"heading {tag[1]}" if tag not in _BLOCKS else "text")
            self._pre = tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._aside -= tag in _ASIDE
        if tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
            self.end("text")
            self._pre = False

    def handle_data(self, data: str) -> None:
        if not self._aside:
            self._parts.append(data if self._pre else re.sub(r"\s+", " ", data))

    def end(self, kind: str) -> None:
        text = "".join(self._parts).replace("¶", "").strip("\n" if self._pre else " \n")
        if text.strip():
            self.blocks.append((self._kind, text))
        self._kind, self._parts = kind, []


def html_blocks(text: str) -> list[tuple[str, str]]:
    parser = _Blocks()
    parser.feed(text)
    parser.end("text")
    return parser.blocks


def pod_blocks(text: str) -> Iterator[tuple[str, str]]:
    for block in re.split(r"\n\s*\n", text):
        plain = re.sub(r"[A-Z]<+ ?([^<>]*?) ?>+", r"\1", block).strip("\n")
        if plain.startswith("=head"):
            yield f"heading {plain[5]}", " ".join(plain[6:].split())
        elif plain.strip() and not plain.startswith("="):
            yield "text", plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    (options.folder / "docs").mkdir(parents=True, exist_ok=True)
    rows = []
    for name, pattern in SOURCES.items():
        for path in sorted(options.packages.glob(pattern)):
            if path.stem in ("index", "installed", "index.en", "faqinfo.en"):
                continue
            source = path.read_text(encoding="utf-8", errors="replace")
            blocks = list(pod_blocks(source) if path.suffix == ".pod" else html_blocks(source))
            document = f"{name}-{path.stem.removesuffix('.en')}.txt"
            text, questions = answers(blocks)
            if questions:
                (options.folder / "docs" / document).write_text(text, encoding="utf-8")
                rows += [{"question": q, "document": document, "answers": [a]} for q, a in questions]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (options.folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    print(f"{len(rows)} questions, {len(list((options.folder / 'docs').iterdir()))} documents")


def answers(blocks: list[tuple[str, str]]) -> tuple[str, list[tuple[str, dict]]]:
    """The text without its headings, and every question with the span of its answer. Before the first: nothing."""
    text, found = "", []
    question, start, begun = "", 0, False
    for kind, words in [*blocks, ("heading", "")]:
        if kind == "text":
            text += f"{words}\n\n" if begun else ""
            continue
        end = len(text.rstrip())
        if question and end - start >= 80:
            found.append((question, {"text": text[start:end], "start": start, "end": end}))
        question = _NUMBER.sub("", words) if words.endswith("?") else ""
        start, begun = len(text), begun or bool(question)
    return text, found


if __name__ == "__main__":
    main()
