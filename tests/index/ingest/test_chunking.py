"""Passages: literal, complete, small enough for the real tokenizer, and cut where a reader would cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edge_index.ingest.chunking import split
from edge_index.loaders import Extracted, Section, load
from edge_index.storage.passage_table import Chunk

Count = Callable[[str], int]
SENTENCE = "The quick brown fox number {} jumped over the lazy dog near the river. "


def words(text: str) -> int:
    """A tokenizer that can be counted by hand: words, and one token at each end."""
    return len(text.split()) + 2


@pytest.fixture(scope="module")
def tokens(minilm_dir: Path) -> Count:
    tokenizer = Tokenizer.from_file(str(minilm_dir / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids)


def markdown(text: str) -> Extracted:
    return load(Path("a.md"), text.encode())


def texts(extracted: Extracted, spans: list[Chunk]) -> list[str]:
    return [extracted.text[span.start : span.end] for span in spans]


def prose(sentences: int, first: int = 0) -> str:
    return "".join(SENTENCE.format(number) for number in range(first, first + sentences)).strip()


def check(extracted: Extracted, spans: list[Chunk], count: Count, max_tokens: int) -> None:
    """What holds for the passages of any text whatever."""
    text = extracted.text
    covered = bytearray(len(text))
    for span in spans:
        piece = text[span.start : span.end]
        assert piece
        assert piece == piece.strip()
        assert count(piece) <= max_tokens
        assert len(piece) <= max_tokens * 8
        covered[span.start : span.end] = b"\1" * len(piece)
        assert span.sentences
        position = span.start
        for start, end in span.sentences:
            assert position <= start < end <= span.end
            assert text[start:end] == text[start:end].strip()
            position = end
    missing = [text[i] for i, seen in enumerate(covered) if not seen and not text[i].isspace()]
    assert not missing
    assert [span.start for span in spans] == sorted(span.start for span in spans)


CHANCE = random.Random(5)
NASTY = {
    "one letter": "x" * 30_000,
    "base64": "aGVsbG8/+" * 3000,
    "minified": "function(a){return a.b;}" * 1000,
    "no blanks": "日本語の文章は長い" * 900,
    "japanese": "これは文です。" * 900,
    "thai": "ภาษาไทยไม่มีช่องว่าง" * 300,
    "emoji": "😀" * 5000,
    "accents": "a" + "\u0301" * 5000,
    "numbers": " ".join(f"{CHANCE.getrandbits(128):032x}" for _ in range(300)),
    "dashes": "- " * 4000,
    "dots": "." * 5000,
    "words": "word " * 5000,
    "rows": "1,2.5,foo bar\n" * 2000,
    "old mac": "a line of it\r" * 1000,
    "tiny": "a\n\n" * 3000,
    "headings": "# h\n\n" * 600,
    "blanks": "a" + " " * 30_000 + "b" + "\n" * 500 + "\x0b\x1c\u2028c",
    "noise": "".join(
        chr(CHANCE.choice([CHANCE.randrange(32, 127), CHANCE.randrange(0x4E00, 0x9FFF), 10, 32, 0x3002]))
        for _ in range(9000)
    ),
}


@pytest.mark.parametrize("by_line", [False, True])
@pytest.mark.parametrize("name", NASTY)
def test_any_text_is_covered_in_pieces_that_fit(name: str, by_line: bool, tokens: Count) -> None:
    extracted = Extracted(NASTY[name], by_line=by_line)
    for max_tokens, overlap in ((256, 0), (24, 1)):
        spans = split(extracted, count=tokens, max_tokens=max_tokens, overlap=overlap)
        check(extracted, spans, tokens, max_tokens)


def test_random_documents_with_sections(tokens: Count) -> None:
    chance = random.Random(11)
    for _ in range(20):
        parts = []
        for _ in range(chance.randrange(1, 30)):
            level = chance.randrange(7)
            body = prose(chance.choice([0, 1, 3, 12, 40]), chance.randrange(99))
            parts.append(f"{'#' * level} Head {chance.randrange(9)}" if level else body)
        extracted = markdown("\n\n".join(parts) or "x")
        if extracted.text.strip():
            overlap = chance.randrange(3)
            check(extracted, split(extracted, count=tokens, overlap=overlap), tokens, 256)


def test_a_paragraph_that_fits_is_one_passage() -> None:
    paragraphs = [prose(4), prose(9, 10), prose(17, 30)]
    extracted = Extracted("\n\n".join(paragraphs) + "\r\n \r\n" + prose(5))
    spans = split(extracted, count=words)
    assert texts(extracted, spans) == [*paragraphs, prose(5)]
    assert [len(span.sentences) for span in spans] == [4, 9, 17, 5]


def test_a_long_paragraph_is_cut_between_sentences_into_even_parts() -> None:
    extracted = Extracted(prose(30))  # 390 words of 254
    first, second = split(extracted, count=words, overlap=0)
    assert texts(extracted, [first, second]) == [prose(15), prose(15, 15)]
    first, second = split(extracted, count=words, overlap=1)
    assert texts(extracted, [first, second]) == [prose(15), prose(16, 14)]
    assert second.sentences[0] == first.sentences[-1]


def test_headings_join_what_they_stand_over() -> None:
    extracted = markdown(f"# Title\n\n{prose(9)}\n\n## Part\n\n### Deep\n\n{prose(8)}\n\n## Alone\n")
    spans = split(extracted, count=words)
    assert texts(extracted, spans) == [
        f"# Title\n\n{prose(9)}",
        f"## Part\n\n### Deep\n\n{prose(8)}",
        "## Alone",
    ]
    assert [span.heading for span in spans] == ["Title", "Title > Part > Deep", "Title > Alone"]
    starts = [extracted.text[slice(*span.sentences[0])][:9] for span in spans]
    assert starts == ["The quick", "The quick", "## Alone"]  # a heading is no sentence, unless it is all there is


def test_tiny_paragraphs_join_their_neighbours_but_not_another_section() -> None:
    items = "\n\n".join(f"item {number} of it" for number in range(15))
    extracted = markdown(f"# A\n\n{items}\n\n{prose(9)}\n\nA last word.\n\n# B\n\nShort.\n\n# C\n\nBrief.")
    assert texts(extracted, split(extracted, count=words)) == [
        f"# A\n\n{items}",
        f"{prose(9)}\n\nA last word.",
        "# B\n\nShort.",
        "# C\n\nBrief.",
    ]


def test_no_passage_crosses_a_page() -> None:
    text = "One.\n\nTwo.\n\nThree."
    pages = (Section(0, 4, "A", 1), Section(6, 10, "A > B", 2), Section(12, 18, None, 3))
    spans = split(Extracted(text, pages, pages=3), count=words)
    assert [(span.page, text[span.start : span.end]) for span in spans] == [(1, "One."), (2, "Two."), (3, "Three.")]


def test_text_outside_of_sections_is_kept() -> None:
    text = "before middle after"
    spans = split(Extracted(text, (Section(7, 13, "M", None),)), count=words)
    assert [(span.heading, text[span.start : span.end]) for span in spans] == [
        (None, "before"),
        ("M", "middle"),
        (None, "after"),
    ]


def test_lines_of_code_are_cut_between_lines_and_are_its_sentences() -> None:
    block = "def f{0}(a):\n    return a. b + {0}\n"
    code = "\n".join(block.format(number) for number in range(60))
    extracted = Extracted(code, by_line=True)
    spans = split(extracted, count=words)
    assert len(spans) == 2
    for span in spans:
        assert code[span.start : span.start + 4] == "def "
        assert code[: span.end].endswith("\n" + code[: span.end].splitlines()[-1])
        lines = [line.strip() for line in code[span.start : span.end].splitlines() if line.strip()]
        assert [code[start:end] for start, end in span.sentences] == lines


def test_rows_of_a_table_are_sentences() -> None:
    extracted = Extracted("Name | Yield\nRye 1. sort | 3\nOats | 4")
    (span,) = split(extracted, count=words)
    assert "Oats | 4" in [extracted.text[start:end] for start, end in span.sentences]


def test_nothing_gives_nothing() -> None:
    assert split(Extracted(" \n\n "), count=words) == []
