"""Model folders that name native code or files elsewhere. The oracle is a library that writes a file when it is loaded,
which onnxruntime-genai by itself does load.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edge
from edge.engines.memory_fit import read_genai_config
from edge.engines.onnx.genai_config import load_genai_config
from edge.errors import ModelError
from edge.system.model_folder import check_links, is_inside
from edge_tui.hub.importing import check
from engines_under_test import Files

_OPS = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) {
  FILE *f = fopen("%s", "a");
  if (f) { fputs("ran", f); fclose(f); }
}
void *RegisterCustomOps(void *options, void *api) { return 0; }
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def folder(engine_files: Files, edge_home: Path, tmp_path: Path, marker: Path) -> Path:
    """A model of the library with ops.so beside it, which writes `marker`."""
    model = edge_home / "models" / "evil"
    shutil.copytree(engine_files.model("onnx"), model)
    source = tmp_path / "ops.c"
    source.write_text(_OPS % marker)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(model / "ops.so"), str(source)], check=True)
    return model


def put(folder: Path, section: dict[str, Any], **more: Any) -> None:
    """Add to what stands in the folder's genai_config.json."""

    def merge(into: dict[str, Any], new: dict[str, Any]) -> None:
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value)
            else:
                into[key] = value

    file = folder / "genai_config.json"
    config = json.loads(file.read_text())
    merge(config, {**section, **more})
    file.write_text(json.dumps(config))


def session(**options: Any) -> dict[str, Any]:
    return {"model": {"decoder": {"session_options": options}}}


def test_a_library_of_custom_operators_never_runs(folder: Path, marker: Path, tmp_path: Path) -> None:
    put(folder, session(custom_ops_library="ops.so"))
    bare = "import sys, onnxruntime_genai as og; og.Model(sys.argv[1])"
    subprocess.run([sys.executable, "-c", bare, str(folder)], check=False, capture_output=True)
    assert marker.exists(), "onnxruntime-genai by itself loads it"
    marker.unlink()
    everything = (
        "import sys; from edge_tui.cli.main import _run\n"
        "folder = sys.argv[1]\n"
        "for line in (['models', 'list'], ['models', 'show', folder], ['doctor'], ['models', 'import', folder, '--as',"
        " 'other'], ['ask', 'What?', '--model', folder], ['convert', 'parity', folder, '--base', folder]):\n"
        "    print('$', *line, '->', _run(line), flush=True)\n"
        "import edge\n"
        "try: edge.load(folder)\n"
        "except edge.errors.ModelError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", everything, str(folder)], check=False, capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("EDGE_CUSTOM_OPS=/path/of/it"), done.stdout + done.stderr
    assert done.stderr.count("names native code") >= 3, done.stderr
    assert not marker.exists()
    assert not (folder.parent / "other").exists()


def test_the_user_may_name_the_library(
    folder: Path, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, session(custom_ops_library="ops.so"))
    monkeypatch.setenv("EDGE_CUSTOM_OPS", os.pathsep.join([str(tmp_path / "no.so"), str(folder / "ops.so")]))
    assert read_genai_config(folder)["decoder"]["session_options"]["custom_ops_library"] == "ops.so"
    shutil.copy(folder / "ops.so", folder / "others.so")
    put(folder, session(custom_ops_library="others.so"))
    with pytest.raises(ModelError, match="names native code"):
        read_genai_config(folder)


HOSTILE = [
    session(custom_ops_library="/tmp/ops.so"),
    session(custom_ops_library="harmless.txt"),
    session(enable_profiling="../../trace"),
    session(enable_profiling="trace"),
    session(**{"session.model_external_initializers_file_folder_path": "."}),
    session(**{"ep.context_file_path": "x_ctx.onnx"}),
    session(**{"any.new.entry": "/etc/passwd"}),
    session(**{"any.new.entry": "libevil.so.1"}),
    session(provider_options=[{"qnn": {"backend_path": "QnnHtp"}}]),
    session(provider_options=[{"OpenVINO": {"load_config": "openvino.json", "device_type": "CPU"}}]),
    session(provider_options=[{"cuda": {"gpu_external_alloc": "140737353"}}]),
    session(provider_options=[{"mine": {"ep_library_path": "ep"}}]),
    session(provider_options=[{"/tmp/ep.so": {}}]),
    session(provider_options=[{"mine": {"anything": "C:\\evil.dll"}}]),
    {"model": {"decoder": {"run_options": {"x": "\\\\host\\share\\x"}}}},
    {
        "model": {
            "decoder": {"pipeline": [{"a": {"filename": "a.onnx", "session_options": {"custom_ops_library": "o"}}}]}
        }
    },
    {"model": {"decoder": {"pipeline": [{"a": {"filename": "../a.onnx"}}]}}},
    {"model": {"decoder": {"filename": "ops.so"}}},
    {"model": {"tokenizer_dir": "../other"}},
    {"search": {"some_path": "x"}},
    {"engine": {"library": "x"}},
    *(
        {"model": {part: {"session_options": {"custom_ops_library": "ops.so"}}}}
        for part in ("encoder", "vision", "vad")
    ),
    *({"model": {part: {"filename": "/etc/passwd"}}} for part in ("decoder", "encoder", "speech", "embedding")),
    *({"model": {part: {"adapter_filename": "../x"}}} for part in ("vision", "speech")),
    *({"model": {part: {"config_filename": "..\\x.json"}}} for part in ("vision", "speech")),
]


@pytest.mark.parametrize("section", HOSTILE, ids=lambda section: json.dumps(section)[:90])
def test_what_is_none_of_the_models_own_files_is_refused(tmp_path: Path, section: dict[str, Any]) -> None:
    decoder = {"filename": "model.onnx", "inputs": {"input_ids": "/model/ids"}, "session_options": {"log_id": "x"}}
    whole = {"model": {"type": "llama", "eos_token_id": [1, 2], "decoder": decoder}, "search": {"top_p": 1.0}}
    file = tmp_path / "genai_config.json"
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a")
    file.write_text(json.dumps(whole))
    assert load_genai_config(file) == whole
    put(tmp_path, section)
    with pytest.raises(ModelError, match=r"genai_config\.json names"):
        load_genai_config(file)
    with pytest.raises(ModelError, match=r"genai_config\.json names"):
        check(tmp_path)


def test_the_first_of_two_equal_keys_counts_too(tmp_path: Path) -> None:
    file = tmp_path / "genai_config.json"
    file.write_text('{"model": {"decoder": {"custom_ops_librar\\u0079": "a", "custom_ops_library": ""}}}')
    with pytest.raises(ModelError, match="names native code"):
        load_genai_config(file)


def test_what_published_models_have_is_taken(tmp_path: Path) -> None:
    options = [{"cuda": {"enable_cuda_graph": "0", "enable_skip_layer_norm_strict_mode": "1"}}, {"dml": {}}]
    decoder = {
        "session_options": {
            "log_id": "onnxruntime-genai",
            "provider_options": options,
            "graph_optimization_level": "x",
        },
        "filename": "onnx/model.onnx",
        "sliding_window": {"window_size": 4, "alignment": "right", "slide_key_value_cache": True},
        "outputs": {"logits": "/lm_head/logits", "present_key_names": "present.%d.key"},
    }
    whole = {"model": {"decoder": decoder, "prompt_templates": {"user": "</s>{Content}"}}, "search": {"top_k": 50}}
    file = tmp_path / "genai_config.json"
    file.write_text(json.dumps(whole))
    assert load_genai_config(file) == whole


@pytest.mark.parametrize(
    "name", ["/x", "../x", "a/../../x", "a/..", "C:\\x", "C:x", "\\\\host\\share", "//host/x", "a\0b"]
)
def test_a_name_that_leads_out(tmp_path: Path, name: str) -> None:
    assert not is_inside(tmp_path, name)


def test_links_stay_inside(tmp_path: Path) -> None:
    folder, other = tmp_path / "model", tmp_path / "secret"
    (folder / "deep").mkdir(parents=True)
    other.write_text("secret")
    (folder / "weights").write_text("w")
    (folder / "deep" / "same").symlink_to("../weights")
    check_links(folder)
    assert is_inside(folder, "deep/same")
    (folder / "deep" / "link").symlink_to(other)
    assert not is_inside(folder, "deep/link")
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        check_links(folder)


def test_the_cache_of_the_hub_is_a_model_folder(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    (blobs / "1").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../blobs/1")
    check_links(snapshot)
    (snapshot / "evil").symlink_to(tmp_path)
    with pytest.raises(ModelError):
        check_links(snapshot)


def test_external_data_of_a_graph_stays_inside(tmp_path: Path) -> None:
    """Held by onnxruntime itself: this test says when it no longer does."""
    import onnxruntime
    from onnx import TensorProto, helper

    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "link"):
        weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        weights.external_data.add(key="location", value=location)
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (folder / "model.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(Exception, match="External data path validation failed"):
            onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


def test_load_refuses_before_anything_native(folder: Path) -> None:
    put(folder, {"model": {"decoder": {"filename": "../../x.onnx"}}})
    with pytest.raises(ModelError, match="outside of the model's folder"):
        edge.load(folder)
