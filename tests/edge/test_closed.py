"""What is closed says so: all that is public of five classes, with real engines, in a process that a signal ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import closed_walk
import engines_under_test
from edge_index import Index
from index_fakes import WordEncoder

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.parametrize("kind", closed_walk.ARGUMENTS)
def test_the_walk_knows_every_public_method(kind: type) -> None:
    assert closed_walk.unknown(kind) == [], "say in closed_walk.ARGUMENTS how to call these"


def make_reranker(folder: Path) -> Path:
    """A cross-encoder whose logit is the sum of a pair's tokens."""
    import onnx
    from onnx import TensorProto, helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "lamp": 1, "a": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "axes"], ["logits"], keepdims=1),
    ]
    given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(nodes, "sum", [given], [made], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


def test_a_closed_thing_raises_one_kind_of_error_and_never_ends_the_process(
    engine_files: engines_under_test.Files, minilm_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "tower.md").write_text("The lamp is at the top. The keeper reads.")
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add(tmp_path / "tower.md")
    paths = [engine_files.model("gguf"), engine_files.model("onnx"), minilm_dir, make_reranker(tmp_path / "reranker")]
    command = [sys.executable, "-m", "closed_walk", *map(str, paths), str(tmp_path / "index")]
    ended = subprocess.run(command, cwd=SUPPORT, capture_output=True, text=True, timeout=500)
    calls = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    assert ended.returncode == 0, (calls[-1:], ended.stderr[-3000:])
    expected = dict.fromkeys(("gguf", "onnx", "chat"), "edge.errors.ModelError")
    expected["index"] = "edge.errors.KnowledgeError"
    expected |= dict.fromkeys(("encoder", "reranker"), "edge.errors.EncoderError")
    wrong = []
    for label, name, error, message in calls:
        if name in closed_walk.NEEDS_NO_MODEL:
            assert error == ""
        elif error != expected[label.removesuffix(", racing")] or "closed" not in message:
            wrong.append((label, name, error, message))
    assert not wrong
    assert {label for label, *_ in calls} == {*expected, *(f"{label}, racing" for label in expected)}
