"""What the fault harness does to an index, step by step, and what must stand in it after any of the steps."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

State = Mapping[str, str]
"""The documents: name of the file and its text."""

QUERIES = ("harbour light 7", "copper bridge and stone", "a quiet winter market 12", "river meadow orchard", "lantern")

_WORDS = (
    "harbour light copper bridge stone quiet winter market river meadow orchard lantern glass tower garden engine "
    "paper violin forest island signal window mirror kettle ladder anchor barley candle dragon ember falcon granite "
    "hammer ivory jasmine kernel lemon marble needle oyster pepper quartz ribbon saddle timber velvet walnut yellow "
    "zephyr canvas thunder bottle cradle desert flour"
).split()


@dataclass(frozen=True)
class Action:
    """A call that the index acknowledges by returning, and the documents that stand in it then.

    `add` of the folder with these files · `remove` of those that are not among them · `search`, which publishes the
    files beside the store · `rebuild` with the step's encoder.
    """

    kind: str
    files: State


@dataclass(frozen=True)
class Step:
    """Deeds in one process with one encoder ("": the one that the index was made with), from a closed index that
    holds `before`."""

    name: str
    before: State
    actions: tuple[Action, ...]
    encoder: str = "WordEncoder"
    bare: bool = False
    """The files beside the store are gone."""

    def after(self) -> State:
        return self.actions[-1].files


def story() -> list[Step]:
    """From nothing to a searched index and on: each step begins where the one before it ended."""
    first = {f"d{n:02}.txt": _text(n, 1) for n in range(24)}
    changed = first | {f"d{n:02}.txt": _text(n, 2) for n in (3, 5, 10)}
    moved = {("e04.txt" if name == "d04.txt" else name): text for name, text in changed.items()}
    fewer = {name: text for name, text in moved.items() if name not in ("d07.txt", "d15.txt")}
    grown = fewer | {f"f{n:02}.txt": _text(n, 1) for n in range(40, 48)}
    last = {name: text for name, text in grown.items() if name not in ("d20.txt", "f44.txt")}
    last |= {"d03.txt": _text(3, 3), "f60.txt": _text(60, 1)}
    return [
        Step("add", {}, (Action("add", first),)),
        Step("publish", first, (Action("search", first),), bare=True),
        Step("update", first, (Action("add", changed),)),
        Step("move", changed, (Action("search", changed), Action("add", moved))),
        Step("remove", moved, (Action("remove", fewer),)),
        Step(
            "session",
            fewer,
            (Action("add", grown), Action("search", grown), Action("add", last), Action("search", last)),
        ),
        Step("rebuild", last, (Action("rebuild", last), Action("search", last)), "OtherEncoder"),
    ]


def lay(docs: Path, files: State) -> None:
    """Make the folder hold exactly `files`; the time of a file follows from its text, so that none moves unseen."""
    docs.mkdir(exist_ok=True)
    for name in os.listdir(docs):
        if name not in files:
            (docs / name).unlink()
    for name, text in files.items():
        path = docs / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
            stamp = 1_700_000_000 + sum(text.encode())
            os.utime(path, (stamp, stamp))


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _text(number: int, version: int) -> str:
    """Every fifth is long enough for several passages, and its versions differ in one paragraph only."""
    if number % 5:
        return _paragraph(random.Random(number * 100 + version), f"{number}", 24)
    parts = [_paragraph(random.Random(number * 100 + part), f"{number} part {part}", 100) for part in range(4)]
    parts[version] = _paragraph(random.Random(number * 1000 + version), f"{number} again", 100)
    return "\n\n".join(parts)


def _paragraph(chance: random.Random, name: str, words: int) -> str:
    sentences = [f"This is number {name}."]
    for _ in range(words // 12):
        sentences.append(" ".join(chance.choices(_WORDS, k=12)).capitalize() + ".")
    return " ".join(sentences)


# The oracle ------------------------------------------------------------------------------------------------------


@dataclass
class Journal:
    """What the harness wrote down outside the store: how far the deeds came, by the index's own word."""

    begun: int = 0
    acknowledged: int = 0
    passages: int = 0
    """That the deed in hand said it had written."""

    def note(self, text: str) -> None:
        word, number = text.split()
        if word == "begin":
            self.begun, self.passages = int(number), 0
        elif word == "done":
            self.acknowledged, self.passages = int(number), 0
        elif word == "passages":
            self.passages = int(number)


@dataclass
class Verdict:
    """What is wrong with the documents that were found; all empty when nothing is."""

    lost: list[str]
    wrong: list[str]


def judge(step: Step, journal: Journal, encoder: str, found: State, passages: Mapping[str, int]) -> Verdict:
    """Hold the documents `found` against the journal. `passages` are the documents' numbers of passages, `encoder`
    made their vectors.

    What was acknowledged is there. What was in hand is, document by document, as before or as after.
    """
    states = [step.before, *(action.files for action in step.actions)]
    sure = states[journal.acknowledged]
    going = states[journal.begun] if journal.begun > journal.acknowledged else sure
    verdict = Verdict([], [])
    for name in sorted({*sure, *going, *found}):
        text, allowed = found.get(name), (sure.get(name), going.get(name))
        if text in allowed:
            continue
        if text is None:
            verdict.lost.append(f"{name} is gone")
        elif any(text == state.get(name) for state in states):
            verdict.lost.append(f"{name} is another version than the acknowledged one")
        else:
            verdict.wrong.append(f"{name} holds a text that was never added under this name")
    if found and encoder not in (_encoder(step, journal.acknowledged), _encoder(step, journal.begun)):
        verdict.lost.append(f"the vectors are those of {encoder}")
    new = sum(passages.get(name, 0) for name in going if name in found and found[name] == going[name] != sure.get(name))
    if new < journal.passages:
        verdict.lost.append(f"{journal.passages} passages were acknowledged, {new} are there")
    return verdict


def _encoder(step: Step, actions: int) -> str:
    """Whose vectors the index has after so many deeds."""
    return step.encoder if any(action.kind == "rebuild" for action in step.actions[:actions]) else Step.encoder
