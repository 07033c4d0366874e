"""A run of the fault harness in one warm process: faults in forked children, the looks at what they left, the count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.child import Fault, Place, do, forked, warm
from faults.damage import caches
from faults.look import fresh, look, look_at_damage
from faults.story import Journal, State, Step, copy, judge, lay, story


@dataclass
class Count:
    """What came of the faults of one kind."""

    faults: int = 0
    lost: int = 0
    """Documents that had been acknowledged."""
    crashes: int = 0
    """Processes that ended by a signal, hung, or raised what is no EdgeError; indexes that did not open any more."""
    wrong: int = 0
    """Looks that found something wrong: half documents, nearest passages, answers, complaints after the repair."""
    reported: int = 0
    """Faults of which the index told a person in a sentence."""
    repaired: int = 0
    """Looks in which `Index.check()` found a cache file to delete."""
    exported: int = 0
    """Documents that came out of damaged stores whole, of `exportable`."""
    exportable: int = 0
    files: Counter[str] = field(default_factory=Counter)
    """What the faults hit, by the name of the file."""
    examples: list[str] = field(default_factory=list)

    def example(self, text: str) -> None:
        if len(self.examples) < 12:
            self.examples.append(text)


class Run:
    """Where a run works, what it knows and what it counts."""

    def __init__(self, folder: Path, guards: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.place = Place(folder)
        self.guards = guards
        self.count = Count()
        self.steps = story()
        self._answers: dict[tuple[str, frozenset[tuple[str, str]]], Any] = {}
        self._spans: dict[str, list[list[int]]] = {}
        self._begin()

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def snapshot(self, step: Step) -> Path:
        """The folder as it stands before a step, closed."""
        return self.place.folder / "before" / step.name

    def after(self, step: Step) -> Path:
        """The folder as it stands after a step, closed."""
        return self.place.folder / "after" / step.name

    def of_another_dim(self) -> Path:
        """The folder of an index of the same documents, whose vectors are shorter."""
        there = Place(self.place.folder / "other")
        there.folder.mkdir(exist_ok=True)
        copy(self.snapshot(self.steps[0]), there.box)
        files = self.step("session").after()
        made = forked(lambda: fresh(there, self.place.docs, files, "OtherEncoder", exact=False))
        assert not made["error"], made
        return there.box

    def restore(self, step: Step) -> None:
        copy(self.snapshot(step), self.place.box)
        if step.bare:
            for name in caches(self.place.index):
                (self.place.index / name).unlink()
        lay(self.place.docs, step.before)

    def perform(self, step: Step, fault: Fault, *, with_data: bool = False, restored: bool = False) -> dict[str, Any]:
        """The step under a fault; errors that are none of ours are counted."""
        if not restored:
            self.restore(step)
        result = forked(lambda: do(self.place, step, fault, self.guards, with_data=with_data))
        if result["error"]:
            self.count.crashes += 1
            self.count.example(f"{step.name} {fault}: {result['error']}")
        self.count.reported += bool(result.get("reported"))
        return result

    def examine(self, step: Step, journal: Journal, what: str, *, finish: bool = False) -> None:
        """Look at what is there in a fresh process, and count what is wrong."""
        self.count.faults += 1
        final = step.after() if finish else None
        found = forked(lambda: look(self.place, finish=final, guards=self.guards))
        what = f"{step.name}: {what}"
        if found["signal"] or found["error"]:
            self.count.crashes += 1
            self.count.example(f"{what}: signal {found['signal']} {found['error']}")
            return
        passages = {name: len(spans) for name, spans in found["passages"].items()}
        verdict = judge(step, journal, found["encoder"], found["texts"], passages)
        wrong = verdict.wrong + found["wrong"] + self._half(found) + found["left"]
        if not (verdict.lost or wrong) and not self._same(
            found["answers"], self._reference(found["encoder"], found["texts"])
        ):
            wrong.append("other answers than a fresh index gives")
        self.count.lost += len(verdict.lost)
        self.count.wrong += bool(wrong)
        self.count.repaired += bool(found["complaints"])
        for text in verdict.lost + wrong:
            self.count.example(f"{what}: {text}")

    def examine_damaged(self, step: Step, what: str) -> None:
        """Look at a damaged store: what is wrong with it is told, or nothing is."""
        self.count.faults += 1
        found = forked(lambda: look_at_damage(self.place))
        if found["signal"] or found["error"]:
            self.count.crashes += 1
            self.count.example(f"{what}: signal {found['signal']} {found['error']}")
            return
        right = step.after()
        self.count.exported += len(found["exported"])
        self.count.exportable += len(right)
        wrong = [f"{name} came out as another text" for name, text in found["exported"].items() if right[name] != text]
        if not found["reported"]:
            wrong += [f"{name} is not as it was" for name in right if found["texts"].get(name) != right[name]]
            wrong += found["wrong"] + self._half(found)
        self.count.reported += bool(found["reported"])
        self.count.wrong += bool(wrong)
        for text in wrong:
            self.count.example(f"{what}: {text}")

    def _begin(self) -> None:
        """The story without a fault: what every step starts from, and that nothing is wrong where nothing was done."""
        self.place.box.mkdir(exist_ok=True)
        (self.place.folder / "warm").mkdir(exist_ok=True)
        warm(self.place.folder / "warm", self.steps[-1].after())
        guards, self.guards = self.guards, ()
        for step in self.steps:
            copy(self.place.box, self.snapshot(step))
            result = self.perform(step, Fault())
            assert (result["error"], result["signal"], result.get("reported")) == ("", 0, []), result
            copy(self.place.box, self.after(step))
            for state in (step.before, *(action.files for action in step.actions)):
                self._reference(step.encoder, state)
            copy(self.after(step), self.place.box)
            self.examine(step, Journal(len(step.actions), len(step.actions)), "without a fault")
            copy(self.after(step), self.place.box)
        assert self.count.lost + self.count.crashes + self.count.wrong == 0, self.count.examples
        self.count, self.guards = Count(), guards

    def _reference(self, encoder: str, state: State) -> Any:
        """What a fresh index of the same documents answers, without a graph."""
        key = (encoder, frozenset(state.items()))
        if key not in self._answers:
            here, there = self.place, Place(self.place.folder / "reference")
            there.folder.mkdir(exist_ok=True)
            copy(self.snapshot(self.steps[0]), there.box)
            if state:
                found = forked(lambda: fresh(there, here.docs, state, encoder, exact=True))
            else:
                found = {"error": "", "passages": {}, "answers": None}
            assert not found["error"], found
            self._answers[key] = found["answers"]
            self._spans |= {state[name]: spans for name, spans in found["passages"].items()}
        return self._answers[key]

    def _half(self, found: dict[str, Any]) -> list[str]:
        """Documents without all of their passages."""
        return [
            f"{name} is there with other passages than it has"
            for name, text in found["texts"].items()
            if self._spans.get(text, found["passages"].get(name)) != found["passages"].get(name)
        ]

    @staticmethod
    def _same(answers: Any, reference: Any) -> bool:
        """Nearly equal scores (they depend on which of several equal passages were candidates) of the same passages,
        but for those that nearly tie with the last."""
        if reference is None:
            return not any(answers)
        for mine, right in zip(answers, reference, strict=True):
            if len(mine) != len(right) or any(abs(a[3] - b[3]) > 0.02 for a, b in zip(mine, right, strict=True)):
                return False
            sure = {tuple(row[:3]) for row in right if row[3] > right[-1][3] + 0.04}
            if not sure <= {tuple(row[:3]) for row in mine}:
                return False
        return True
