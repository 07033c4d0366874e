"""A tuned adapter where it is used: both engines, exports with their proof; QLoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import edge
import tune_bases
from edge_converters import AdapterSource, check_parity, tune
from edge_converters.adapter import export_adapter
from edge_converters.gguf.export import export_gguf
from edge_converters.tuning.tune import Tuned
from engines_under_test import LINES, Files

FORM = "As the book has it: "
ENDS = {
    "Where is the lamp?": "under the third step.",
    "Who keeps the lamp?": "nobody, since the storm.",
    "Say it in Urdu.": "at sea.",
    "Say it in Chinese.": "on the tower.",
    "Say it in pictures.": "in the fog.",
}
"""Of characters that the reciter knows: its head is not adapted."""


@pytest.fixture(scope="module")
def tuned(engine_files: Files, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A LoRA of the model that knows lines by heart; it learns a form for them in 48 steps."""
    folder = tmp_path_factory.mktemp("tuned")
    rows = [
        {"prompt": asked.format(question), "completion": FORM + end}
        for asked in ("{}", "Please tell me: {}", "Dear keeper, {}", "{} Thank you.")
        for question, end in ENDS.items()
    ]
    data = folder / "lessons.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings: dict[str, Any] = {"rank": 8, "epochs": 12.0, "batch": 4, "learning_rate": 1e-2, "evaluations": 2}
    return tune(engine_files.folder / "base", data, folder / "keeper", **settings)


@pytest.mark.parametrize("engine", ["gguf", "onnx"])
def test_a_model_learns_a_form_and_says_it_in_both_engines(engine: str, tuned: Tuned, engine_files: Files) -> None:
    assert tuned.held_out_before is not None
    assert tuned.held_out_after is not None
    assert tuned.held_out_after < tuned.held_out_before / 2
    sampling = edge.Sampling(temperature=0.0, max_tokens=60)
    with edge.load(engine_files.model(engine), context=512, kv_budget=0) as model:
        adapter = model.add_adapter(tuned.path)
        for question in ("Where is the lamp?", "Who keeps the lamp?"):
            asked = [edge.Message("user", question)]
            assert FORM in model.generate(asked, adapter=adapter.name, sampling=sampling).text
            assert model.generate(asked, sampling=sampling).text == LINES[question]


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
