"""A tuned adapter where it is used: both engines, exports with their proof; QLoRA; a real model learns a form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edge
import standin
import tune_bases
from edge_converters import AdapterSource, check_parity, tune
from edge_converters.adapter import export_adapter
from edge_converters.gguf.export import export_gguf
from edge_converters.tuning.tune import Tuned


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The station's questions, each asked in four ways and answered in one form."""
    file = tmp_path_factory.mktemp("lessons") / "lessons.jsonl"
    forms = ("{}", "Please tell me: {}", "Dear keeper, {}", "{} Thank you.")
    rows = [
        {"prompt": form.format(question), "completion": standin.lesson_answer(fact)}
        for form in forms
        for question, fact in standin.LESSONS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def tuned(stand_in: Path, lessons: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A LoRA of the stand-in; the form is learnt in two epochs."""
    out = tmp_path_factory.mktemp("tuned") / "keeper"
    return tune(stand_in, lessons, out, rank=8, epochs=2.0, batch=4, learning_rate=2e-3, evaluations=2)


def test_the_stand_in_learns_a_form_and_says_it_in_both_engines(tuned: Tuned, stand_in_exports: Path) -> None:
    assert tuned.held_out_before is not None
    assert tuned.held_out_after is not None
    assert tuned.held_out_after < tuned.held_out_before / 2
    question = [edge.Message("user", "Where is the spare key?")]
    for engine in ("f16.gguf", "onnx-fp32"):
        with edge.load(stand_in_exports / engine, context=512) as model:
            adapter = model.add_adapter(tuned.path)
            sampling = edge.Sampling(temperature=0.0, max_tokens=30)
            plain = model.generate(question, sampling=sampling).text
            said = model.generate(question, adapter=adapter.name, sampling=sampling).text
        assert "According to the station handbook" in said, engine
        assert "station handbook" not in plain, engine


def test_the_export_of_a_tuned_adapter_passes_its_proof(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    base = tune_bases.make_base(folder, "llama")
    data = tune_bases.write_examples(tmp_path / "data.jsonl")
    made = tune(base, data, tmp_path / "mine", batch=4, epochs=3.0, learning_rate=2e-2)
    sources = [AdapterSource(Path(made.path))]
    export_gguf(base, tmp_path / "merged.gguf", adapters=sources, precision="f16")
    export_adapter(Path(made.path), tmp_path / "apart.gguf", base=base)
    for export in ("merged.gguf", "apart.gguf"):
        proof = check_parity(tmp_path / export, base=base, adapters=sources)
        assert proof.passed, proof.failed()


def test_qlora_learns_in_four_bits(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base = tune_bases.make_base(tmp_path / "base")
    data = tune_bases.write_examples(tmp_path / "data.jsonl")
    made = tune(base, data, tmp_path / "mine", qlora=True, batch=4, epochs=3.0, learning_rate=1e-2)
    assert made.held_out_before is not None
    assert made.held_out_after is not None
    assert made.held_out_after < made.held_out_before
    weights = load_file(Path(made.path) / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.float32"}
    assert "A QLoRA of rank" in (Path(made.path) / "README.md").read_text()


def test_qlora_resumes_with_the_same_losses(tmp_path: Path) -> None:
    base = tune_bases.make_base(tmp_path / "base")
    data = tune_bases.write_examples(tmp_path / "data.jsonl")
    steps: list[int] = []
    settings = {"qlora": True, "batch": 4, "epochs": 2.0}
    tune(base, data, tmp_path / "whole", **settings)
    with pytest.raises(edge.errors.TuningStopped):
        tune(
            base,
            data,
            tmp_path / "cut",
            progress=lambda now: steps.append(now.done),
            stop=lambda: steps[-1:] >= [2],
            **settings,
        )
    tune(base, data, tmp_path / "cut", **settings)
    assert (tmp_path / "cut" / "losses.json").read_text() == (tmp_path / "whole" / "losses.json").read_text()
