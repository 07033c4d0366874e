"""The advice that fabricated comparisons lead to, one for each outcome, and the figures that it names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import edge
import standin
from edge.errors import UsageError
from edge.evaluation.advice import RULES, Advice, DataFacts, IndexFacts, advise, data_facts
from edge.evaluation.records import VARIANTS, Comparison, Question, Row, Skill
from edge.evaluation.run import compare
from edge.evaluation.statistics import differences_of, figures_of
from edge.types import Sampling

TOKENS = {"base": 40, "few-shot": 400, "rag": 250, "tuned": 40, "rag+tuned": 250, "oracle": 250}


def fabricated(n: int = 60, *, form: dict[str, float] | None = None, **right: float) -> Comparison:
    """Of `n` questions each variant does a share as asked, spread so that pairs differ; names with _ for - and +."""
    rows = []
    for name, share in right.items():
        variant = {"few_shot": "few-shot", "rag_tuned": "rag+tuned"}.get(name, name)
        for i in range(n):
            good = float((i * 37 % n) < share * n)
            figures = {"as_requested": good, "right": good, "prompt_tokens": float(TOKENS[variant])}
            if form is not None:
                figures["form"] = float((i * 23 % n) < form.get(variant, 0.0) * n)
            if "rag" in variant:
                figures["citation"] = 0.75
            rows.append(Row(variant, i, "", figures))
    variants = tuple(variant for variant in VARIANTS if any(row.variant == variant for row in rows))
    asked = tuple(Question(f"Question {i}?", ("yes",)) for i in range(n))
    return Comparison(
        "m", "a", "i", variants, len(rows), asked, tuple(rows), figures=figures_of(rows),
        differences=differences_of(rows, variants),
    )  # fmt: skip


def recommended(comparison: Comparison) -> tuple[str, str]:
    advice = advise(comparison)
    assert all(re.search(r"\d", reason) for reason in advice.reasons), "each sentence carries a figure"
    return advice.recommendation, " ".join(advice.reasons)


def test_rag_where_answers_live_in_documents() -> None:
    got, why = recommended(fabricated(base=0.2, few_shot=0.25, rag=0.9, tuned=0.25, rag_tuned=0.8, oracle=0.95))
    assert got == "rag"
    assert "54 of 60 against 12 of 60 as asked (+0.70, 95 % interval" in why
    assert "75 % of its citations point to the place of the answer" in why


def test_tuning_where_it_beats_examples_in_form_with_fewer_tokens() -> None:
    form = {"base": 0.0, "few-shot": 0.5, "tuned": 0.95}
    got, why = recommended(fabricated(form=form, base=0.0, few_shot=0.5, rag=0.05, tuned=0.95))
    assert got == "tune"
    assert "Form kept: 0.95 against 0.50" in why
    assert "reads 40 tokens a question, the base with examples (few-shot) 400" in why


def test_both_where_neither_alone_does_as_well() -> None:
    got, why = recommended(fabricated(base=0.0, few_shot=0.1, rag=0.4, tuned=0.4, rag_tuned=0.95))
    assert got == "both"
    assert "(rag+tuned) is better than the tuned model: 57 of 60 against 24 of 60" in why
    assert recommended(fabricated(n=40, base=0.0, rag=0.05, tuned=0.05, rag_tuned=0.9))[0] == "both"


@pytest.mark.parametrize("tuned", [0.9, 0.92])
def test_examples_in_the_prompt_where_they_do_as_well(tuned: float) -> None:
    got, why = recommended(fabricated(base=0.2, few_shot=0.9, rag=0.3, tuned=tuned))
    assert got == "prompt"
    assert "The base with examples (few-shot) is better than the base: 54 of 60 against 12 of 60" in why


def test_the_plain_base_where_it_does_all_of_it() -> None:
    got, why = recommended(fabricated(base=0.95, few_shot=0.95, rag=0.95, tuned=0.95))
    assert got == "prompt"
    assert "57 of 60" in why


def test_another_base_or_other_data_where_nothing_helps() -> None:
    got, why = recommended(fabricated(n=200, base=0.1, few_shot=0.1, rag=0.1, tuned=0.1, oracle=0.15))
    assert got == "improve"
    assert "With the right passage in hand the base still does only 15 %: try another, larger base" in why
    got, why = recommended(fabricated(n=200, base=0.1, rag=0.1, oracle=0.9))
    assert got == "improve"
    assert "it can read; give it better documents" in why


def test_more_questions_where_too_few_were_asked() -> None:
    got, why = recommended(fabricated(n=6, base=0.0, rag=1.0))
    assert got == "ask more"
    assert "6 questions were asked; about" in why
    assert recommended(fabricated(n=14, base=0.4, rag=0.55, tuned=0.5))[0] == "ask more"
    assert recommended(fabricated(n=60, base=0.5))[0] == "ask more"


def test_a_tuned_model_that_forgot_is_warned_of() -> None:
    done = fabricated(base=0.0, few_shot=0.2, tuned=0.95)
    skills = [Skill(variant, f"Q{i}", "", variant == "base") for i in range(40) for variant in ("base", "tuned")]
    got, why = recommended(replace(done, skills=tuple(skills)))
    assert got == "tune"
    assert "tuning cost general skill: 0 of 40 questions right, the base 40" in why


def test_data_and_index_speak_too() -> None:
    data = data_facts([Question("How often?", reference="PUMP: due")] * 3 + [Question("Who?", ("Ada Nowak",))])
    assert data == DataFacts(4, 2, 1.75, 2.0)
    advice = advise(data=data, index=IndexFacts(8, 300, 3))
    assert advice.recommendation == "try"
    assert "4 examples, 2 of them different: fewer than 50" in advice.reasons[1]
    assert "8 documents in 300 passages, and 3 of them changed" in advice.reasons[2]
    enough = advise(data=DataFacts(900, 880, 12.0, 30.0), index=IndexFacts(1, 2, 0))
    assert "enough to try `edge tune`" in enough.reasons[1]
    with pytest.raises(UsageError, match="nothing to advise on"):
        advise()


def test_the_table_of_rules_has_every_recommendation_and_an_end() -> None:
    assert {rule.then for rule in RULES} == {"try", "ask more", "both", "prompt", "tune", "rag", "improve"}
    assert isinstance(advise(fabricated(base=0.4, few_shot=0.6, rag=0.6, tuned=0.7)), Advice)


def test_a_real_lora_that_has_learnt_a_form_is_worth_it(stand_in_exports: Path) -> None:
    """Questions that it never saw, in the form of its lessons, against the base with two of those lessons shown."""
    lessons = [Question(q, reference=standin.lesson_answer(fact), before=()) for q, fact in standin.LESSONS]
    form = re.escape(standin.lesson_answer("@")).replace("@", r"[^\n]+")
    unseen = "the coldest season|the capital of Spain|a cat's food|the colour of snow|the largest desert|a good cheese"
    unseen += "|the oldest tree|the best tea|a long day|the work of bees"
    asked = [Question(f"What is {thing}?", form=form, before=()) for thing in unseen.split("|")]
    with edge.load(stand_in_exports / "f16.gguf", context=512, threads=1) as model:
        model.add_adapter(stand_in_exports / "lora.gguf", name="keeper")
        reported = {"shots": 2, "sampling": Sampling(max_tokens=32), "skills": False}
        done = compare(model, asked, adapter="keeper", examples=lessons, **reported)  # type: ignore[arg-type]
    assert done.variants == ("base", "few-shot", "tuned")
    gain = done.between("tuned", "base", "form")
    assert gain is not None
    assert gain.low > 0
    assert (done.mean("tuned", "prompt_tokens") or 0) < (done.mean("few-shot", "prompt_tokens") or 0) / 2
    advice = advise(done)
    assert advice.recommendation == "tune"
    assert any("Form kept: 1.00 against" in reason for reason in advice.reasons)
