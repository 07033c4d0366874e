"""What an answer looks like: marks, numbers, notes, and nothing that steers a terminal."""

from __future__ import annotations

import re

import pytest

from edge.answer import Answer
from edge.types import Citation, Claim, ContextUsage, Dropped, Evidence, Finish, Usage
from edge_tui.rendering.answer import OWN_LEGEND, notes, number_sources, to_markdown, with_context
from edge_tui.rendering.sources import Source
from edge_tui.terminal import printable
from support.chat.fakes import MANUAL, MOTOR, SEAL, TYPE


def cited(text: str, sentence: str, quote: str, document: str = "a.md") -> Citation:
    at, start = text.index(sentence), MANUAL.index(quote)
    claim = Claim(sentence, at, at + len(sentence))
    return Citation(claim, quote, document, None, None, start, start + len(quote), 1.0)


def own(text: str, sentence: str) -> Claim:
    at = text.index(sentence)
    return Claim(sentence, at, at + len(sentence))


def answer(
    text: str,
    citations: tuple[Citation, ...] = (),
    unsupported: tuple[Claim, ...] = (),
    dropped: tuple[Dropped, ...] = (),
    finish: Finish = "stop",
) -> Answer:
    context_usage = ContextUsage(4096, 1, 1, 1, 1, 1, dropped)
    return Answer(text, (), citations, unsupported, (), Usage(10, 0, 7), context_usage, finish)


def without_marks(markdown: str) -> str:
    plain = re.sub(r" \[\\\[\d+\\\]\]\(#source-\d+\)", "", markdown)
    return re.sub(r"\*([^*]*)°\*|°", r"\1", plain)


def test_sentences_get_their_numbers_and_own_words_their_sign() -> None:
    text = "Replace it every 4,000 hours. It takes 45 W. Buy two of them."
    citations = (cited(text, "Replace it every 4,000 hours.", SEAL), cited(text, "It takes 45 W.", MOTOR))
    done = answer(text, citations, (own(text, "Buy two of them."),))
    sources = number_sources(done.citations)
    markdown = to_markdown(done, sources)
    assert markdown == (
        "Replace it every 4,000 hours. [\\[1\\]](#source-1) It takes 45 W. [\\[2\\]](#source-2) *Buy two of them.°*"
    )
    assert notes(done) == (OWN_LEGEND,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Hours:\n\n```python\nwait(4000)\n```\n\nDone.", "wait(4000)"),
        ("Hours:\n\n```python\nwait(4000)\n", "wait(4000)"),
        ("~~~\na ``` b\n~~~\nEnd.", "a ``` b"),
    ],
)
def test_code_is_left_as_it_is(text: str, sentence: str) -> None:
    marked = to_markdown(answer(text, (), (own(text, sentence),)), ())
    assert marked.startswith(text[: text.index(sentence) + len(sentence)])
    assert "°" in marked[text.index(sentence) + len(sentence) :]


def test_a_mark_stays_inside_a_table() -> None:
    text = "| part | hours |\n|---|---|\n| seal | 4,000 |\n"
    done = answer(text, (cited(text, "| seal | 4,000 |", SEAL),))
    row = to_markdown(done, number_sources(done.citations)).splitlines()[2]
    assert row.endswith("|")
    assert row.count("|") == 3
    assert "#source-1" in row


@pytest.mark.parametrize(
    "sentence",
    ["**Never** run it dry.", "1. Close it.", "- Close it.", "See [this](x).", "A\nB.", "`x` is 1.", "2 * 3."],
)
def test_markdown_of_the_model_keeps_its_meaning(sentence: str) -> None:
    """Italics would break these; the sign alone is added."""
    assert to_markdown(answer(sentence, (), (own(sentence, sentence),)), ()) == f"{sentence}°"


def test_marks_change_nothing_else() -> None:
    text = "Replace it. Close it first.  It takes 45 W.\n\nThat is all."
    done = answer(text, (cited(text, "It takes 45 W.", MOTOR),), (own(text, "Replace it."), own(text, "That is all.")))
    assert without_marks(to_markdown(done, number_sources(done.citations))) == text


def test_without_documents_nothing_is_marked() -> None:
    done = answer("Hello.", (), (own("Hello.", "Hello."),))
    assert to_markdown(done, (), mark_own=False) == "Hello."
    assert notes(done, mark_own=False) == ()


def test_a_citation_of_the_evidence_shares_its_number() -> None:
    start = MANUAL.index(TYPE)
    evidence = Evidence(TYPE, "a.md", None, None, start, start + len(TYPE), 0.5)
    inside = cited("Use S-12.", "Use S-12.", "type S-12")
    elsewhere = cited("Use S-12.", "Use S-12.", TYPE, document="b.md")
    sources = number_sources([inside, elsewhere], number_sources([evidence]))
    assert [(source.number, source.document) for source in sources] == [(1, "a.md"), (2, "b.md")]


def test_context_is_the_documents_text_around_the_quote() -> None:
    text = ("word " * 400) + MANUAL + ("word " * 400)
    start = text.index(SEAL)
    source = with_context(Source(1, SEAL, "a.md", None, None, start, start + len(SEAL)), text)
    assert source.quote == SEAL
    assert source.before.endswith("before any work. ")
    assert text[: source.start].endswith(source.before)
    assert text[source.end :].startswith(source.after)
    assert len(source.before) < 700
    assert len(source.after) < 700


def test_a_quote_that_moved_stands_without_context() -> None:
    source = Source(1, SEAL, "a.md", None, None, 0, len(SEAL))
    assert with_context(source, MANUAL) == source


def test_what_was_left_out_and_an_early_end_are_said() -> None:
    text = " ".join(notes(answer("x", dropped=(Dropped("2 earlier turns", 312),), finish="length")))
    assert "2 earlier turns" in text
    assert "312" in text
    assert "7 tokens" in text


def test_nothing_that_steers_a_terminal_passes() -> None:
    evil = "a\x1b]0;title\x07b\x9b31mc\rd\x08\x7f\n\te"
    assert len(printable(evil)) == len(evil)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printable(evil))
    assert printable("é\n\t漢") == "é\n\t漢"
    assert "\x1b" not in to_markdown(answer(evil), ())
