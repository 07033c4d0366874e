"""What a person sees of records: printed, in a notebook, in a debugger."""

from __future__ import annotations

from edge.answer import Answer
from edge.types import Citation, Claim, ContextUsage, Passage, Usage

TEXT = "The seal is green.  It is changed every spring. I like it."
LEDGER = ContextUsage(0, 0, 0, 0, 0, 0)


def cited(claim: str, quote: str, page: int | None = None, start: int = 0) -> Citation:
    at = TEXT.index(claim)
    place = ("/docs/pump.pdf", page, "Seal", start, start + len(quote))
    return Citation(Claim(claim, at, at + len(claim)), quote, *place, 0.9)


def answer(*citations: Citation, text: str = TEXT) -> Answer:
    return Answer(text, (), citations, (), (), Usage(), LEDGER, answerable=0.93)


def test_a_printed_answer_has_its_sources_below() -> None:
    first, second = (
        cited("The seal is green.", "The seal is\ngreen rubber.", 3),
        cited("It is changed", "Every spring."),
    )
    assert str(answer(first, second)).splitlines() == [
        "The seal is green. [1]  It is changed [2] every spring. I like it.",
        "",
        "[1] pump.pdf, p. 3, Seal: “The seal is green rubber.”",
        "[2] pump.pdf, Seal: “Every spring.”",
    ]


def test_one_place_is_one_source() -> None:
    shown = str(answer(cited("The seal is green.", "Q", 3), cited("It is changed every spring.", "Q", 3)))
    assert shown.count("[1]") == 3
    assert "[2]" not in shown


def test_without_sources_it_is_the_text() -> None:
    assert str(answer()) == TEXT


def test_foreign_text_steers_no_terminal_and_no_page() -> None:
    hostile = answer(cited("The seal is green.", "\x1b]0;x\x07<script>"), text=f"\x1b[2J<b>{TEXT}")
    assert "\x1b" not in str(hostile)
    assert "<" not in hostile._repr_markdown_()
    assert "\x1b" not in hostile._repr_markdown_()


def test_a_repr_is_one_line() -> None:
    long = answer(cited("The seal is green.", "Q"), text=TEXT * 50)
    assert len(repr(long)) < 200
    assert "citations=1" in repr(long)
    assert "answerable=0.93" in repr(long)
    passage = Passage("A seal.\n" * 99, "/docs/pump.pdf", 3, "Seal", 10, 20, 0.7512, "0" * 64, {"year": 2024})
    assert len(repr(passage)) < 220
    for part in ("/docs/pump.pdf", "page=3", "10:20", "0.751", "2024"):
        assert part in repr(passage)
