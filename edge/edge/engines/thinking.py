"""What a model thinks before it answers, kept apart from the answer: how thinking is switched, opened and closed.

Chat templates and replies of each family as their makers publish them; where a mark is a control token, the engines
spell it out (`is_mark`). A reply is split as it streams: a mark may be cut anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from edge.engines.contract import Token
from edge.types import Prefill, Sampling


@dataclass(frozen=True, slots=True)
class Marks:
    """`begin` opens thinking, any of `ends` closes it. `prose` ones are words that an answer could begin with, too."""

    begin: str
    ends: tuple[str, ...]
    prose: bool = False


_RESPONSE = ("Here is my response:", "Here's my response:")
MARKS = (
    Marks("<think>", ("</think>",)),  # Qwen, DeepSeek, SmolLM3, Phi-4-reasoning, Granite 3.3, Nemotron, GLM, LFM …
    Marks("<thinking>", ("</thinking>",)),
    Marks("<thought>", ("</thought>",)),  # EXAONE
    Marks("<reasoning>", ("</reasoning>",)),
    Marks("[THINK]", ("[/THINK]",)),  # Magistral, Ministral
    Marks("◁think▷", ("◁/think▷",)),  # Kimi-VL, Kimi-Dev
    Marks("<seed:think>", ("</seed:think>",)),  # Seed-OSS
    Marks("<mm:think>", ("</mm:think>",)),  # MiniMax-M3
    Marks("<think:opensource>", ("</think:opensource>",)),  # Hunyuan 3
    Marks("<|START_THINKING|>", ("<|END_THINKING|>",)),  # Command
    Marks("<|channel>thought", ("<channel|>",)),  # Gemma 4
    Marks("<unused94>thought", ("<unused95>",)),  # MedGemma
    Marks("<|channel|>analysis<|message|>", ("<|end|>", "<|channel|>final<|message|>")),  # gpt-oss
    Marks("<|channel|>commentary<|message|>", ("<|end|>", "<|channel|>final<|message|>")),
    Marks("Here is my thought process:", _RESPONSE, prose=True),  # Granite 3.2
    Marks("Here's my thought process:", _RESPONSE, prose=True),
    Marks("Here are my reasoning steps:", ("[BEGIN FINAL RESPONSE]",), prose=True),  # Apriel
)

_WRAPPERS = {
    "<response>": "</response>",
    "<answer>": "</answer>",
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
    "<|START_TEXT|>": "<|END_TEXT|>",
    "<|channel|>final<|message|>": "<|return|>",
    "[BEGIN FINAL RESPONSE]": "[END FINAL RESPONSE]",
}
"""What stands around the answer in some families, between or behind the thinking."""

_TAKEN_FOR_WORDS = ("<response>", "<answer>")
"""Wrappers that count only behind thinking: anybody may write them."""

_BETWEEN = ("<|start|>assistant",)
"""What stands between two blocks of one reply."""

_TURN = "<|start|>assistant"
"""What the prompt of a model with channels ends with: which one comes next is its own choice."""

_ALL = (
    *(mark for marks in MARKS for mark in (marks.begin, *marks.ends)),
    *_WRAPPERS,
    *_WRAPPERS.values(),
    *_BETWEEN,
)
_INLINE = tuple(marks for marks in MARKS if not marks.prose and "<|message|>" not in marks.begin)
_OPENERS = {marks.begin: marks for marks in _INLINE}
_OPENING = re.compile("|".join(map(re.escape, _OPENERS)))
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_SENTENCE_END = tuple(".!?…:。！？")

_EFFORTS = ("none", "no_think", "minimal", "low")
"""Words for the least effort that a template may know, the least first."""

_SWITCHES = ("/no_think", "/nothink")
"""What some templates look for in the system text, in the place of a value."""


def is_mark(token: str) -> bool:
    """Whether a control token's text is a part of a mark, and so has to be seen in a reply."""
    return len(token) > 2 and any(token in mark for mark in _ALL)


def values(source: str, think: bool | None) -> dict[str, Any]:
    """What the chat template `source` is told so that its model thinks or does not; None: nothing, its own default.

    `enable_thinking` is Qwen's, SmolLM's, GLM's and Nemotron's, `thinking` Granite's and DeepSeek's, `reasoning`
    Cohere's, `thinking_mode` MiniMax's, `thinking_budget` Seed's. gpt-oss cannot do without: it thinks as little as
    it can. A name that a template does not know changes nothing.
    """
    if think is None:
        return {}
    variables: dict[str, Any] = {"enable_thinking": think, "thinking": think, "reasoning": think}
    variables["thinking_mode"] = "enabled" if think else "disabled"
    known = [word for word in _EFFORTS if f'"{word}"' in source or f"'{word}'" in source]
    if not think:
        variables |= {"thinking_budget": 0, "reasoning_effort": next(iter(known), "low")}
    elif known[:1] in (["none"], ["no_think"]) and "high" in source:  # none may be the default there
        variables["reasoning_effort"] = "high"
    return variables


def switch_in(source: str) -> str | None:
    """The word in the system text by which the chat template `source` may turn thinking off."""
    return next((word for word in _SWITCHES if word in source), None)


def opened_by(prompt: str) -> Marks | None:
    """The marks whose beginning the prompt ends with, so that the reply begins in the middle of thinking."""
    ending = prompt[-200:].rstrip()
    return next((marks for marks in MARKS if ending.endswith(marks.begin)), None)


def closing(prompt: str) -> str:
    """What has to follow the prompt so that the answer itself comes next, without thinking."""
    marks = opened_by(prompt)
    if marks is not None:
        return f"\n{marks.ends[0]}\n\n"
    return "<|channel|>final<|message|>" if prompt.endswith(_TURN) else ""


def separate(events: Iterator[Prefill | Token], prompt: str, sampling: Sampling) -> Iterator[Prefill | Token]:
    """The same events, one for one, with what is thought in `Token.thinking`. Where thinking has a budget of its own,
    the reply ends when that, or `max_tokens` of the answer, is used up."""
    separator = Separator(prompt)
    budget = sampling.thinking_budget
    thought = said = 0
    try:
        for event in events:
            if isinstance(event, Prefill):
                yield event
                continue
            thinks = separator.thinking
            answer, thinking = separator.feed(event.text)
            if thinks or separator.thinking:
                thought += 1
            else:
                said += 1
            finish = event.finish
            if finish is None and budget is not None:
                used_up = thought >= budget if separator.thinking else said >= sampling.max_tokens
                finish = "length" if used_up else None
            if finish is not None:
                last_answer, last_thinking = separator.finish(cut=finish == "length")
                yield Token(answer + last_answer, finish, thinking + last_thinking)
                return
            yield Token(answer, None, thinking)
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def engine_limit(sampling: Sampling) -> Sampling:
    """As the engine is told it: it counts all tokens alike."""
    return replace(sampling, max_tokens=sampling.max_tokens + (sampling.thinking_budget or 0))


class Separator:
    """Splits a reply, piece by piece, into (answer, thinking). `prompt` may have opened the thinking already.

    Thinking stands at the beginning of a reply, or at the beginning of a line or right behind a sentence; there it
    must be closed, or cut off, to be one. An answer that only mentions a mark stays as it is, code of it, too.
    """

    def __init__(self, prompt: str = "") -> None:
        self._held = ""
        opened = opened_by(prompt)
        self._marks = replace(opened, prose=False) if opened is not None else None
        self._seen = self._marks is not None
        self._fresh = True
        """Nothing of the block at hand has come."""
        self._speaking = False
        self._inside = False
        """Within a block that the answer has begun before: nothing of it is passed on until it is closed."""
        self._end = ""
        """What closes the wrapper of the answer."""
        self._skip = ""
        """White space that is nothing of the answer's, before its next word."""
        self._thought = ""
        self._said = ""

    @property
    def thinking(self) -> bool:
        return self._marks is not None

    def feed(self, text: str) -> tuple[str, str]:
        """What is certain by now, with one more piece of the reply."""
        self._held += text
        answer = thinking = ""
        while True:
            before = (self._held, self._marks, self._speaking)
            if self._marks is not None:
                thinking += self._think(self._marks)
            elif self._speaking:
                answer += self._speak()
            else:
                self._begin()
            if (self._held, self._marks, self._speaking) == before:
                return answer, thinking

    def finish(self, *, cut: bool) -> tuple[str, str]:
        """What was held back. `cut`: the reply ended at its limit, not of itself."""
        held, self._held = self._held, ""
        if self._marks is None:
            return self._last_words(held, cut), ""
        if self._inside and not cut:  # a mark that was only mentioned
            return self._marks.begin + held, ""
        rest = self._block(held.rstrip())
        if self._marks.prose and not cut:  # ordinary words after all
            return f"{self._marks.begin} {self._thought}", rest
        return "", rest

    def _last_words(self, held: str, cut: bool) -> str:
        if self._speaking:
            return self._without_end(held)
        text = held.strip()
        if text in _BETWEEN or (cut and text and any(mark.startswith(text) for mark in _ALL)):
            return ""
        return text if self._seen else held

    def _begin(self) -> None:
        """Before the answer's first word."""
        text = self._held.lstrip()
        for marks in MARKS:
            if text.startswith(marks.begin):
                self._open(marks, text[len(marks.begin) :])
                return
            for end in () if marks.prose else marks.ends:
                if text.startswith(end) and end not in _WRAPPERS:
                    self._seen, self._held = True, text[len(end) :]
                    return
        for between in _BETWEEN:
            if text.startswith(between):
                self._held = text[len(between) :]
                return
        for wrapper, end in _WRAPPERS.items():
            if text.startswith(wrapper) and (self._seen or wrapper not in _TAKEN_FOR_WORDS):
                self._end, self._held, self._speaking = end, text[len(wrapper) :], True
                self._skip = " \n"
                return
        if text and not any(mark.startswith(text) for mark in _ALL):
            self._held, self._speaking = (text if self._seen else self._held), True

    def _open(self, marks: Marks, rest: str) -> None:
        self._marks, self._held, self._seen, self._fresh = marks, rest, True, True

    def _think(self, marks: Marks) -> str:
        if self._fresh and not self._inside:
            text = self._held.lstrip()
            if text.startswith(marks.begin):  # the model repeats what its prompt ended with
                self._held = text[len(marks.begin) :]
            elif marks.begin.startswith(text):
                return ""
        found = min(((at, end) for end in marks.ends if (at := self._held.find(end)) >= 0), default=None)
        if found is not None:
            return self._close(*found)
        if self._inside:
            return ""
        settled = len(self._held) - _possible_mark(self._held, marks.ends)
        ready = len(self._held[:settled].rstrip())  # white space may be that before the mark
        thinking, self._held = self._held[:ready], self._held[ready:]
        return self._block(thinking)

    def _close(self, at: int, end: str) -> str:
        thinking = self._block(self._held[:at].rstrip())
        self._held = self._held[at if end in _WRAPPERS else at + len(end) :]
        self._skip = "\n" if self._inside and self._said.endswith("\n") else ""
        self._marks, self._inside = None, False
        return thinking

    def _block(self, text: str) -> str:
        """`text` of the block at hand; its first words stand apart from the block before."""
        if self._fresh:
            text = text.lstrip()
            if not text:
                return ""
            text = f"\n\n{text}" if self._thought else text
            self._fresh = False
        self._thought += text
        return text

    def _speak(self) -> str:
        if self._skip:
            self._held = self._held.lstrip(self._skip)
            if not self._held:
                return ""
            self._skip = ""
        for found in _OPENING.finditer(self._held):
            if self._may_begin(self._said + self._held[: found.start()]):
                said = self._held[: found.start()]
                self._said += said
                self._open(_OPENERS[found[0]], self._held[found.end() :])
                self._inside = True
                return said
        waiting = _possible_mark(self._held, (*_OPENERS, *([self._end] if self._end else [])))
        ready = self._without_end(self._held[: len(self._held) - waiting])
        self._held = self._held[len(self._held) - waiting :]
        self._said += ready
        return ready

    def _without_end(self, text: str) -> str:
        return text.replace(self._end, "") if self._end else text

    def _may_begin(self, before: str) -> bool:
        """Whether thinking may begin behind this much of the answer."""
        line = before.rpartition("\n")[2]
        begins = (not line.strip() and len(line) < 4) or line.endswith(_SENTENCE_END)
        return begins and len(_FENCE.findall(before)) % 2 == 0


def _possible_mark(text: str, marks: tuple[str, ...]) -> int:
    """The length of the longest end of `text` with which one of the marks begins, and is not whole."""
    longest = min(len(text), max((len(mark) - 1 for mark in marks), default=0))
    for size in range(longest, 0, -1):
        if any(mark.startswith(text[-size:]) for mark in marks):
            return size
    return 0
