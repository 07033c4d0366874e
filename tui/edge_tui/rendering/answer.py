"""From an `Answer` to what a person reads: numbered sources, Markdown with marks, notes below."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from edge.answer import Answer
from edge.types import Citation, Evidence
from edge_tui.rendering import markdown
from edge_tui.rendering.sources import Source
from edge_tui.terminal import printable, visible_name

OWN = "°"
OWN_LEGEND = f"{OWN} the model's own words: not in the documents"
_CONTEXT = 600
_FENCE = re.compile(r"^ {0,3}(```+|~~~+).*$", re.MULTILINE)
_PLAIN = re.compile(r"(?!\d+[.)]\s)[^\W_][^\n*_`~|\[\]<>\\]*")


def number_sources(spans: Iterable[Evidence | Citation], known: tuple[Source, ...] = ()) -> tuple[Source, ...]:
    """Give every span that none of the known sources holds already the next number, in order."""
    sources = list(known)
    for span in spans:
        if _number(span, sources) is None:
            sources.append(
                Source(
                    number=len(sources) + 1,
                    quote=printable(span.quote),
                    document=span.document,
                    page=span.page,
                    heading=span.heading,
                    start=span.start,
                    end=span.end,
                )
            )
    return tuple(sources)


def with_context(source: Source, text: str) -> Source:
    """Add what stands around the quote in `text`, the document's extracted text, up to whole paragraphs.

    A quote that no longer stands there (the file was added anew meanwhile) is returned as it is.
    """
    text = printable(text)
    if text[source.start : source.end] != source.quote:
        return source
    low, high = max(0, source.start - _CONTEXT), min(len(text), source.end + _CONTEXT)
    before, after = text[low : source.start], text[source.end : high]
    if low > 0:
        before = before[_after_break(before) :]
    if high < len(text):
        after = after[: len(after) - _after_break(after[::-1])]
    return replace(source, before=before, after=after)


def to_markdown(answer: Answer, sources: tuple[Source, ...], *, mark_own: bool = True) -> str:
    """The answer's text with `[n]` after cited sentences and `°` after the model's own.

    A mark is a link to `#source-n`. Sentences of the model's own stand in italics where they hold no Markdown.
    """
    text = answer.text
    numbers: dict[tuple[int, int], list[int]] = {}
    for citation in answer.citations:
        number = _number(citation, sources)
        marks = numbers.setdefault((citation.claim.start, citation.claim.end), [])
        if number is not None and number not in marks:
            marks.append(number)
    inserts: list[tuple[int, int, str]] = []
    fences, formulas = _fences(text), markdown.formulas(text)
    for (start, end), found in numbers.items():
        marks_text = " ".join(f"[\\[{number}\\]](#source-{number})" for number in sorted(found))
        inserts.append(_mark(text, fences, formulas, start, end, f" {marks_text}"))
    for claim in answer.unsupported if mark_own else ():
        body = text[claim.start : claim.end].rstrip()
        if not body.strip():
            continue
        at, order, mark = _mark(text, fences, formulas, claim.start, claim.end, OWN)
        inside = any(low <= claim.start < high for low, high in (*fences, *formulas))
        if _PLAIN.fullmatch(body) and not inside:
            inserts.append((claim.start, 1, "*"))
            mark += "*"
        inserts.append((at, order, mark))
    for at, _, mark in sorted(set(inserts), reverse=True):
        text = text[:at] + mark + text[at:]
    return printable(text)


def notes(answer: Answer, *, mark_own: bool = True) -> tuple[str, ...]:
    """What a person must know about an answer: the legend, what was left out, an early end."""
    out = []
    if answer.unsupported and mark_own:
        out.append(OWN_LEGEND)
    out.extend(
        f"Left out, because it had no room in the context: {visible_name(item.what)} ({item.tokens} tokens)"
        for item in answer.context_usage.dropped
    )
    if answer.finish == "length" and answer.thinking and not answer.text:
        out.append(
            f"Still thinking after {answer.usage.completion_tokens} tokens, and cut off before an answer came; "
            "`edge config set thinking_budget 4096` or a larger --context lets it think for longer"
        )
    elif answer.thinking and not answer.text:
        out.append("The model thought and gave no answer; ask once more")
    elif answer.finish == "length":
        out.append(f"Cut off after {answer.usage.completion_tokens} tokens; ask it to go on, or /sampling max_tokens=…")
    if answer.finish == "cancelled":
        out.append("Stopped")
    return tuple(out)


def thought(seconds: float) -> str:
    """How long a model thought, as far as that is known."""
    return f"Thought for {seconds:.0f} s" if seconds >= 1 else "Thought for a moment" if seconds else "Thought first"


def _number(span: Evidence | Citation, sources: Iterable[Source]) -> int | None:
    for source in sources:
        if source.document == span.document and source.start <= span.start and span.end <= source.end:
            return source.number
    return None


def _mark(
    text: str, fences: list[tuple[int, int]], formulas: list[tuple[int, int]], start: int, end: int, mark: str
) -> tuple[int, int, str]:
    """Where a sentence's mark goes: at its end, behind a block of code or a formula, or inside a table's last cell."""
    end = start + len(text[start:end].rstrip())
    end = next((high for low, high in formulas if low < end < high), end)
    for low, high in fences:
        if low < end <= high:
            return high, 0, f"\n\nThe block above: {mark.strip()}\n\n"
    if text[start:end].endswith("|"):
        end -= 1
    return end, 0, mark


def _fences(text: str) -> list[tuple[int, int]]:
    """Spans of fenced code; one that is still open goes to the end."""
    spans: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opened is None:
            opened = line
        elif line[1].startswith(opened[1]):
            spans.append((opened.start(), line.end()))
            opened = None
    if opened is not None:
        spans.append((opened.start(), len(text)))
    return spans


def _after_break(text: str) -> int:
    """The position behind the first paragraph break of the first two thirds, else line, else word."""
    near = len(text) * 2 // 3
    for mark in ("\n\n", "\n", " "):
        at = text.find(mark, 0, near)
        if at >= 0:
            return at + len(mark)
    return 0
