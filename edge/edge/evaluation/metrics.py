"""What a reply is worth, without a judge: words, form, citations, and whether it says that it does not know."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from edge.errors import FormatError
from edge.evaluation.records import Place, Question
from edge.rag.abstention import abstains
from edge.structured import check


@dataclass(frozen=True, slots=True)
class Metric:
    """`label` for people; `up`: more is better; `share`: 0 to 1, so that a margin of five hundredths means something;
    `quality`: of the reply itself and not of its cost."""

    label: str
    up: bool = True
    share: bool = True
    quality: bool = True


METRICS = {
    "as_requested": Metric("as asked"),
    "right": Metric("right answer"),
    "exact": Metric("exact match"),
    "f1": Metric("token F1"),
    "contains": Metric("answer in reply"),
    "form": Metric("form kept"),
    "rouge": Metric("ROUGE-L"),
    "citation": Metric("citation right"),
    "abstention": Metric("silent when unanswerable"),
    "nll_per_token": Metric("nats a token", up=False, share=False),
    "prompt_tokens": Metric("prompt tokens", up=False, share=False, quality=False),
    "cached_tokens": Metric("of them cached", share=False, quality=False),
    "completion_tokens": Metric("reply tokens", up=False, share=False, quality=False),
    "prompt_seconds": Metric("seconds reading", up=False, share=False, quality=False),
    "completion_seconds": Metric("seconds writing", up=False, share=False, quality=False),
    "seconds": Metric("seconds in all", up=False, share=False, quality=False),
}
"""`as_requested` is the first of them because verdicts rest on it: the answer and the form, as far as a question
asks for them; where it asks for neither, ROUGE-L to the reference."""

_Rule = Mapping[int, int | None]
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: _Rule = str.maketrans("", "", string.punctuation)
_SPACED: _Rule = str.maketrans(string.punctuation, " " * len(string.punctuation))
_WORD = re.compile(r"\w+")


def normalised(text: str) -> str:
    """As SQuAD's evaluation does it: lower case, no punctuation, no articles, single blanks (Rajpurkar et al.,
    arXiv 1606.05250)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(reply: str, answers: Sequence[str]) -> float:
    return float(any(normalised(reply) == normalised(answer) for answer in answers))


def token_f1(reply: str, answers: Sequence[str]) -> float:
    """The best F1 of shared words over the answers; where either has no word left, 1 for both and 0 for one, as
    SQuAD 2.0 counts (arXiv 1806.03822)."""
    return max((_f1(normalised(reply).split(), normalised(answer).split()) for answer in answers), default=0.0)


def contains(reply: str, answers: Sequence[str]) -> float:
    """1 when one of the answers stands in the reply, word by word."""

    def within(rule: _Rule) -> bool:
        said = _padded(reply, rule)
        return any(len(wanted := _padded(answer, rule)) > 2 and wanted in said for answer in answers)

    # "U.S." is "us" to SQuAD and {"country":"France"} one word; either way may find it.
    return float(within(_PUNCTUATION) or within(_SPACED) or exact(reply, answers) > 0)


def rouge_l(reply: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words (Lin 2004)."""
    said, wanted = _WORD.findall(reply.lower()), _WORD.findall(reference.lower())
    if not said or not wanted:
        return float(said == wanted)
    row = [0] * (len(wanted) + 1)
    for word in said:
        corner = 0
        for i, other in enumerate(wanted, 1):
            corner, row[i] = row[i], corner + 1 if word == other else max(row[i], row[i - 1])
    return 2 * row[-1] / (len(said) + len(wanted))


def keeps_form(reply: str, form: str | dict[str, object]) -> float:
    """1 when the whole reply, but for blanks around it, matches the expression, or is JSON of the schema."""
    if isinstance(form, str):
        return float(re.fullmatch(form, reply.strip()) is not None)
    try:
        check(reply, json.dumps(form))
    except FormatError:
        return 0.0
    return 1.0


def right_citations(citations: Sequence[Place], question: Question) -> float | None:
    """The share of the citations that touch a known place of the answer, or, where only the document is known, lie in
    it; 0 without any. None where nothing is known."""
    if question.document is None or not question.answerable:
        return None
    hits = sum(_points_at(place, question) for place in citations)
    return hits / len(citations) if citations else 0.0


def measured(question: Question, reply: str, citations: Sequence[Place] | None) -> dict[str, float]:
    """The quality of a reply by every metric that the question has something to say to. `citations` None: the variant
    makes none."""
    figures: dict[str, float] = {}
    asked: list[float] = []
    if question.answers is not None:
        silent = abstains(reply)
        figures["abstention"] = float(silent == (not question.answers))
        if question.answers:
            figures["exact"] = exact(reply, question.answers)
            figures["f1"] = token_f1(reply, question.answers)
            figures["contains"] = contains(reply, question.answers)
        figures["right"] = figures["contains"] if question.answers else float(silent)
        asked.append(figures["right"])
    if question.form is not None:
        figures["form"] = keeps_form(reply, question.form)
        asked.append(figures["form"])
    if question.reference:
        figures["rouge"] = rouge_l(reply, question.reference)
    cited = right_citations(citations, question) if citations is not None else None
    if cited is not None:
        figures["citation"] = cited
    if asked:
        figures["as_requested"] = min(asked)
    elif "rouge" in figures:
        figures["as_requested"] = figures["rouge"]
    return figures


def _f1(said: list[str], wanted: list[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _padded(text: str, rule: _Rule) -> str:
    return f" {' '.join(_ARTICLES.sub(' ', text.lower().translate(rule)).split())} "


def _points_at(place: Place, question: Question) -> bool:
    assert question.document is not None
    wanted = PurePath(question.document).parts
    if PurePath(place.document).parts[-len(wanted) :] != wanted:
        return False
    return not question.spans or any(start < place.end and place.start < end for start, end in question.spans)
