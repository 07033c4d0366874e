"""Extracted text -> passages that fit the encoder, each a literal span with heading, page and sentences."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise

from edge.text.sentences import sentence_spans
from edge_index.loaders import Extracted, Section
from edge_index.storage.passage_table import Chunk

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"[\r\n]+")
# A tokenizer may count a whole base64 line as one unknown word, or blanks as nothing: no passage may hold
# more characters than this a token, however few tokens they are said to be.
_CHARACTERS_PER_TOKEN = 8
# Nobody wants to read a longer quote: such a "sentence" is a table or code and is taken line by line.
_LONGEST_SENTENCE = 600
# A stretch of more passages is cut into shorter ones where its own words say: an edit moves few borders then.
_STRETCH = 4
CHUNKING_RULES = "2"
"""By which rules texts are cut. Another number says that a text cut by the old ones may now be cut otherwise."""


def split(
    extracted: Extracted,
    *,
    count: Callable[[str], int],
    max_tokens: int = 256,
    min_tokens: int = 40,
    overlap: int = 0,
) -> list[Chunk]:
    """Cut a text into passages of at most `max_tokens`, as `count` counts them (special tokens included).

    A paragraph that fits is one passage. One of fewer than `min_tokens` (a heading, a list item) is joined
    with what follows it in its section. One that is too long is cut between sentences into even parts, the
    last `overlap` sentences of a part opening the next where they are short (measured on encyclopedia text,
    that finds answers no better); a sentence that is too long is cut between words. Every character but
    blanks is in at least one passage.
    """
    measure = _Measure(extracted.text, count, max_tokens)
    found = []
    for region in _regions(extracted, measure, min_tokens):
        pieces = _pieces(region, measure, min_tokens, overlap, extracted.by_line)
        for start, end in pieces:
            sentences = _sentences(extracted.text, start, end, region.heading, extracted.by_line)
            found.append(Chunk(start, end, region.heading, region.page, sentences))
    return found


class _Measure:
    """How large spans of one text are."""

    def __init__(self, text: str, count: Callable[[str], int], max_tokens: int) -> None:
        self.text = text
        self.max_tokens = max_tokens
        self.count = count
        self.special = count("")

    def size(self, start: int, end: int) -> int:
        return self.of(self.text[start:end])

    def of(self, piece: str) -> int:
        """Tokens of `piece`; for one of too many characters only a number that is too large, at no cost."""
        if len(piece) > self.max_tokens * _CHARACTERS_PER_TOKEN:
            return len(piece)
        return self.count(piece)

    def fits(self, start: int, end: int) -> bool:
        return self.size(start, end) <= self.max_tokens


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks at its ends."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def _regions(extracted: Extracted, measure: _Measure, min_tokens: int) -> Iterator[Section]:
    """The sections and the gaps between them, without blanks around and without blank ones.

    A tiny one joins its own subsection behind it, so that a lone chapter title is no passage.
    """
    waiting: Section | None = None
    for section in _covering(extracted):
        start = section.start
        if waiting:
            if _opens(waiting, section) and measure.size(waiting.start, waiting.end) < min_tokens:
                start = waiting.start
            else:
                yield waiting
        waiting = Section(start, section.end, section.heading, section.page)
    if waiting:
        yield waiting


def _opens(outer: Section, inner: Section) -> bool:
    return (
        outer.heading is not None
        and inner.heading is not None
        and inner.heading.startswith(outer.heading + " > ")
        and outer.page == inner.page
    )


def _covering(extracted: Extracted) -> Iterator[Section]:
    position = 0
    text = extracted.text
    for section in (*extracted.sections, Section(len(text), len(text), None, None)):
        for part in (Section(position, section.start, None, None), section):
            start, end = _strip(text, part.start, part.end)
            if end > start:
                yield Section(start, end, part.heading, part.page)
        position = max(position, section.end)


def _pieces(
    region: Section, measure: _Measure, min_tokens: int, overlap: int, by_line: bool
) -> Iterator[tuple[int, int]]:
    """The passages of a region as spans."""
    groups = [(region.start, region.end)] if by_line else _groups(region, measure, min_tokens)
    for start, end in groups:
        if measure.fits(start, end):
            yield start, end
        else:
            units = list(_units(measure, start, end, by_line))
            for stretch in _stretches(units, measure):
                yield from _pack(stretch, measure, 0 if by_line else overlap)


def _groups(region: Section, measure: _Measure, min_tokens: int) -> list[tuple[int, int]]:
    """Paragraphs, tiny ones joined with their like, else with what follows, the last with what went before."""
    paragraphs = list(_paragraphs(measure, region.start, region.end))
    sizes = [measure.size(*paragraph) - measure.special for paragraph in paragraphs]
    anchors = _list_anchors(paragraphs, sizes, measure, min_tokens)
    groups: list[tuple[int, int]] = []
    small = False  # whether the last group is tiny paragraphs only
    size = 0  # of the last group, in tokens without the special ones
    for at, ((start, end), tokens) in enumerate(zip(paragraphs, sizes, strict=True)):
        tiny = tokens < min_tokens
        joins = tiny and at not in anchors and tokens <= measure.max_tokens - measure.special - size
        if small and (size < min_tokens or joins):
            groups[-1] = (groups[-1][0], end)
            small, size = tiny, size + tokens
        else:
            groups.append((start, end))
            small, size = tiny, tokens
    if len(groups) > 1 and small and size < min_tokens and measure.fits(groups[-2][0], groups[-1][1]):
        groups[-2:] = [(groups[-2][0], groups[-1][1])]
    return groups


def _list_anchors(paragraphs: list[tuple[int, int]], sizes: list[int], measure: _Measure, min_tokens: int) -> set[int]:
    """The tiny paragraphs at which a long row of such may be cut."""
    found: set[int] = set()
    for tiny, run in groupby(range(len(sizes)), lambda at: sizes[at] < min_tokens):
        if tiny:
            row = list(run)
            found.update(row[at] for at in _anchors([paragraphs[i] for i in row], [sizes[i] for i in row], measure))
    return found


def _paragraphs(measure: _Measure, start: int, end: int) -> Iterator[tuple[int, int]]:
    position = start
    for border in _PARAGRAPH.finditer(measure.text, start, end):
        if border.start() > position:
            yield _strip(measure.text, position, border.start())
        position = border.end()
    if end > position:
        yield _strip(measure.text, position, end)


def _units(measure: _Measure, start: int, end: int, by_line: bool) -> Iterator[tuple[int, int]]:
    """The smallest spans that a cut may stand between: sentences, or blocks and lines; each fits."""
    for block in _paragraphs(measure, start, end):
        if by_line and measure.fits(*block):
            yield block
            continue
        parts = _lines(measure.text, *block) if by_line else _sentence_parts(measure.text, *block)
        for part in parts:
            if measure.fits(*part):
                yield part
            else:
                yield from _fragments(measure, *part)


def _sentence_parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Sentences, each with all that lies before the next, so that nothing is lost between them."""
    starts = [start + begin for begin, _ in sentence_spans(text[start:end])]
    borders = [start, *starts[1:], end]
    for begin, stop in pairwise(borders):
        yield begin, begin + len(text[begin:stop].rstrip())


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    position = start
    for border in _LINE.finditer(text, start, end):
        if text[position : border.start()].strip():
            yield position, border.start()
        position = border.end()
    if text[position:end].strip():
        yield position, end


def _fragments(measure: _Measure, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A unit that does not fit, cut at line ends, between words or, where it has none, between characters."""
    from semantic_text_splitter import TextSplitter

    splitter = TextSplitter.from_callback(measure.of, measure.max_tokens)
    # The splitter takes more than linear time on text without blanks: it gets a window at a time.
    window = measure.max_tokens * _CHARACTERS_PER_TOKEN * 2
    while start < end:
        stop = min(end, start + window)
        if stop < end:
            blank = max(measure.text.rfind(blank, start + window // 2, stop) for blank in " \n\t")
            stop = blank + 1 if blank > 0 else stop
        for offset, chunk in splitter.chunk_indices(measure.text[start:stop]):
            yield start + offset, start + offset + len(chunk)
        start = stop


def _stretches(units: list[tuple[int, int]], measure: _Measure) -> Iterator[list[tuple[int, int]]]:
    """Long runs of units in pieces of about two passages, short ones as they are."""
    sizes = [measure.size(*unit) - measure.special for unit in units]
    anchors = _anchors(units, sizes, measure)
    for first, last in pairwise([0, *anchors, len(units)]):
        if last > first:
            yield units[first:last]


def _anchors(units: list[tuple[int, int]], sizes: list[int], measure: _Measure) -> list[int]:
    """The units at which a long run may be cut: those whose hash is the smallest within a passage's length around.

    Content-defined chunking by local minima (Bjørner, Blass & Gurevich, 2010): which unit is one depends on its
    neighbours alone, so that all anchors but those beside an edit stay where they are.
    """
    room = measure.max_tokens - measure.special
    if sum(sizes) <= _STRETCH * room:
        return []
    hashes = [zlib.crc32(measure.text[start:end].encode("utf-8", "surrogatepass")) for start, end in units]
    found = []
    for at, own in enumerate(hashes):
        before = _within(sizes, range(at - 1, -1, -1), room)
        after = _within(sizes, range(at, len(sizes)), room)
        if all(hashes[i] > own for i in before) and all(hashes[i] >= own for i in after) and at:
            found.append(at)
    return found


def _within(sizes: list[int], around: range, room: int) -> Iterator[int]:
    """Of the units in `around`, the nearest that take `room` tokens together, and the one that goes beyond."""
    taken = 0
    for at in around:
        if taken >= room:
            return
        taken += sizes[at]
        yield at


def _pack(spans: list[tuple[int, int]], measure: _Measure, overlap: int) -> Iterator[tuple[int, int]]:
    """Neighbouring units joined into spans of about the same size, none too large."""
    sizes = [measure.size(*span) - measure.special for span in spans]
    room = measure.max_tokens - measure.special
    left = sum(sizes)
    first = fresh = 0  # the passage in hand begins at unit `first`; those before `fresh` were in the last one
    while fresh < len(spans):
        goal = left / max(1, math.ceil(left / room))
        repeated = sum(sizes[first:fresh])
        new, last = sizes[fresh], fresh + 1
        while last < len(spans) and new + sizes[last] / 2 <= goal and repeated + new + sizes[last] <= room:
            new += sizes[last]
            last += 1
        # The sum is an estimate: some tokenizers count a text and its parts differently.
        while last > fresh + 1 and not measure.fits(spans[first][0], spans[last - 1][1]):
            last -= max(1, (last - fresh) // 64)  # thousands of units that count nothing by themselves
        yield _strip(measure.text, spans[first][0], spans[last - 1][1])
        left -= sum(sizes[fresh:last])
        first = _repeat(spans, sizes, fresh, last, overlap, measure)
        fresh = last


def _repeat(
    spans: list[tuple[int, int]], sizes: list[int], fresh: int, last: int, overlap: int, measure: _Measure
) -> int:
    """The unit at which the next passage begins: up to `overlap` before unit `last`, if they are short."""
    first = max(fresh + 1, last - overlap)
    while first < last and (
        sum(sizes[first:last]) > measure.max_tokens // 4
        or last == len(spans)
        or not measure.fits(spans[first][0], spans[last][1])
    ):
        first += 1
    return first


def _sentences(text: str, start: int, end: int, heading: str | None, by_line: bool) -> tuple[tuple[int, int], ...]:
    """The sentences of a passage; rows of a table and lines of code count as such, heading lines do not."""
    titles = heading.split(" > ") if heading else []
    found: list[tuple[int, int]] = []
    for first, last, whole in _prose(text, start, end, titles):
        spans = sentence_spans(text[first:last]) if whole and not by_line else [(0, last - first)]
        for a, b in spans:
            piece = text[first + a : first + b]
            rows = by_line or not whole or " | " in piece or len(piece) > _LONGEST_SENTENCE
            parts = _lines(text, first + a, first + b) if rows else [(first + a, first + b)]
            found.extend(_strip(text, *part) for part in parts)
    content = [span for span in found if _is_content(text[slice(*span)], titles)]
    return tuple(content or found or [(start, end)])


def _prose(text: str, start: int, end: int, titles: list[str]) -> Iterator[tuple[int, int, bool]]:
    """Stretches of lines (start, end, whether they are prose), cut at headings, rules and Markdown's fences.

    What stands between fences is code.
    """
    fenced = False
    first = start
    for a, b in [*_lines(text, start, end), (end, end)]:
        line = text[a:b].strip()
        fence = line.startswith(("```", "~~~"))
        if a == end or fence or not _is_content(line, titles):
            if text[first:a].strip():
                yield *_strip(text, first, a), not fenced
            first = b
        if fence:
            fenced = not fenced


def _is_content(sentence: str, titles: list[str]) -> bool:
    """Whether this is more than a heading, a rule or brackets."""
    return sentence.strip("#=-~^*_` \n") not in titles and any(map(str.isalnum, sentence))
