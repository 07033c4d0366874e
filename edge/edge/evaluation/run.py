"""The same questions to every variant of a model that is to be an expert, and which of them was worth it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

from edge.errors import UsageError
from edge.evaluation.kept_answers import Kept, Keys, fingerprint_of
from edge.evaluation.questions import read_questions
from edge.evaluation.records import VARIANTS, Comparison, Question, Row, Skill, read_comparison, to_json
from edge.evaluation.skills import interleaved, tried
from edge.evaluation.statistics import SEED, differences_of, figures_of
from edge.evaluation.variants import Encoder, Examples, Setup, answer, possible
from edge.evaluation.verdict import verdict
from edge.library import adapter_name, find_adapter
from edge.model import Model
from edge.requests import checked_rag
from edge.types import RagOptions, Retriever, Sampling

__all__ = ["Comparison", "Progress", "Question", "compare", "read_comparison", "read_questions", "sample", "to_json"]

_SKILL = "general skill"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a comparison is: `done` of `total` answers, `kept` of them from an earlier run; `seconds_left` is None
    until every variant has answered once. `variant` is the one in hand, "" at the end."""

    done: int
    total: int
    kept: int
    variant: str
    seconds_left: float | None


def compare(
    model: Model,
    questions: Sequence[Question],
    *,
    adapter: str | Path | None = None,
    knowledge: Retriever | None = None,
    examples: Sequence[Question] = (),
    variants: Sequence[str] | None = None,
    shots: int = 4,
    encoder: Encoder | None = None,
    system: str | None = None,
    sampling: Sampling | None = None,
    rag: RagOptions | None = None,
    think: bool = False,
    skills: bool = True,
    keep: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Ask every question in every variant, measure the replies and say what the differences are worth.

    `variants` are some of `VARIANTS`; None takes all that are possible. `adapter` is the name of one that the model has
    loaded, or what `Model.add_adapter` takes. `examples` are shown few-shot, the `shots` nearest to each question,
    by `encoder`, that of the knowledge, or by words. `knowledge`, `rag`, `think` and `system` are those of `Chat`. With
    `skills` base and tuned model also answer forty general questions. Every answer is kept in the file `keep` as it
    comes, and is not asked for again. KeyboardInterrupt ends the asking, not the comparison: what there is is returned,
    and is not `complete`.

    Raises UsageError for no questions, an unknown variant or one that cannot be tried, and what `Model.stream` raises.
    """
    if not questions:
        raise UsageError("there are no questions to compare with; give some")
    if encoder is None and examples:
        encoder = getattr(knowledge, "encoder", None)
    setup = Setup(
        model,
        adapter=_loaded(model, adapter),
        knowledge=knowledge,
        examples=Examples(examples, encoder),
        shots=shots,
        system=system,
        sampling=sampling or Sampling(),
        rag=checked_rag(rag),
        think=think,
    )
    chosen, notes = _chosen(setup, questions, variants)
    run = _Run(setup, tuple(questions), chosen, skills and "tuned" in chosen, progress)
    with Kept(keep) as kept, suppress(KeyboardInterrupt):
        run.ask(kept)
    return _concluded(run, notes)


def sample(questions: Sequence[Question], limit: int) -> list[Question]:
    """At most `limit` of the questions, in their order, drawn so that the same file gives the same ones."""
    import random

    if limit >= len(questions):
        return list(questions)
    return [questions[i] for i in sorted(random.Random(SEED).sample(range(len(questions)), limit))]


class _Run:
    """The asking: question after question, every variant in turn, and another one first each time, so that a machine
    that becomes slower, or was warmer, favours none."""

    def __init__(
        self,
        setup: Setup,
        questions: tuple[Question, ...],
        variants: tuple[str, ...],
        skills: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.setup, self.questions, self.variants = setup, questions, variants
        self.rows: list[Row] = []
        self.skills: list[Skill] = []
        self._progress = progress
        self._plan = list(self._planned())
        self._skill_plan = list(interleaved()) if skills else []
        self.planned = len(self._plan)
        self._done = self._kept = 0
        self._spent: dict[str, list[float]] = {}

    def ask(self, kept: Kept) -> None:
        keys = Keys(self.setup)
        rows = [(keys.row(variant, self.questions[number]), number, variant) for number, variant in self._plan]
        skills = [(keys.skill(variant, question), variant, question) for variant, question in self._skill_plan]
        waiting = Counter(
            variant for key, variant in {(key, variant) for key, _, variant in rows} if kept.row(key, 0) is None
        )
        waiting[_SKILL] = sum(kept.skill(key) is None for key, _, _ in skills)
        if waiting["few-shot"]:
            self.setup.examples.prepare()
        for key, number, variant in rows:
            self._tell(variant, waiting)
            row = kept.row(key, number)
            if row is None:
                with self._timed(variant, waiting):
                    row = answer(self.setup, variant, number, self.questions[number])
                assert row is not None, "_planned() leaves out what a variant cannot answer"
                kept.add(key, row)
            else:
                self._kept += 1
            self.rows.append(row)
            self._done += 1
        for key, variant, question in skills:
            self._tell(_SKILL, waiting)
            skill = kept.skill(key)
            if skill is None:
                with self._timed(_SKILL, waiting):
                    skill = tried(self.setup, variant, question)
                kept.add(key, skill)
            else:
                self._kept += 1
            self.skills.append(skill)
            self._done += 1
        self._tell("", waiting)

    @contextmanager
    def _timed(self, variant: str, waiting: Counter[str]) -> Iterator[None]:
        began = perf_counter()
        yield
        self._spent.setdefault(variant, []).append(perf_counter() - began)
        waiting[variant] -= 1

    def _planned(self) -> Iterator[tuple[int, str]]:
        from edge.evaluation.variants import oracle_passages

        for number, question in enumerate(self.questions):
            turn = number % len(self.variants)
            for variant in (*self.variants[turn:], *self.variants[:turn]):
                if variant != "oracle" or oracle_passages(self.setup.knowledge, question):
                    yield number, variant

    def _tell(self, variant: str, waiting: Counter[str]) -> None:
        if self._progress is None:
            return
        left = {name: count for name, count in waiting.items() if count}
        # General questions come last; until then they are taken to last as long as what was asked without documents.
        spent = {_SKILL: self._spent.get("tuned", []), **self._spent}
        seconds = None
        if all(spent.get(name) for name in left):
            seconds = sum(count * _typical(spent[name]) for name, count in left.items())
        self._progress(Progress(self._done, len(self._plan) + len(self._skill_plan), self._kept, variant, seconds))


def _typical(seconds: Sequence[float]) -> float:
    """The mean but for the first answer, which warms things up, where there are others."""
    later = seconds[1:] or seconds
    return sum(later) / len(later)


def _loaded(model: Model, adapter: str | Path | None) -> str | None:
    """The name under which the adapter is loaded."""
    if adapter is None:
        return None
    names = [known.name for known in model.adapters]
    if str(adapter) in names:
        return str(adapter)
    name = adapter_name(find_adapter(adapter))
    return name if name in names else model.add_adapter(adapter).name


def _chosen(
    setup: Setup, questions: Sequence[Question], variants: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    can, notes = possible(setup, questions)
    if variants is None:
        return can, notes
    for variant in variants:
        if variant not in VARIANTS:
            raise UsageError(f"{variant!r} is no variant; known: {', '.join(VARIANTS)}")
        if variant not in can:
            raise UsageError(next(note for note in notes if note.startswith(f"{variant} was")))
    if not variants:
        raise UsageError(f"there is nothing to compare; name some of: {', '.join(can)}")
    return tuple(variant for variant in VARIANTS if variant in variants), ()


def _concluded(run: _Run, notes: tuple[str, ...]) -> Comparison:
    setup = run.setup
    failed = [row for row in run.rows if row.error]
    if failed:
        notes += (f"{len(failed)} questions could not be asked and count as no reply: {failed[0].error}.",)
    settings = {
        **asdict(setup.rag),
        "think": setup.think,
        "shots": setup.shots if "few-shot" in run.variants else 0,
        "examples": len(setup.examples.known),
        "system": setup.system,
        "max_tokens": setup.sampling.max_tokens,
        "temperature": setup.sampling.temperature,
        "context": setup.model.context,
    }
    done = Comparison(
        model=setup.model.name,
        adapter=setup.adapter,
        knowledge=None if setup.knowledge is None else fingerprint_of(setup.knowledge),
        variants=run.variants,
        planned=run.planned,
        asked=run.questions,
        rows=tuple(run.rows),
        skills=tuple(run.skills),
        notes=notes,
        settings=settings,
        figures=figures_of(run.rows),
        differences=differences_of(run.rows, run.variants),
    )
    return replace(done, verdict=verdict(done))
