"""The oracle of these tests is transformers: tiny models with random weights, made here."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edge.errors import ConversionError, MissingExtra, StorageError
from edge_converters import to_encoder
from edge_converters.encoder.directory import convert_encoder
from edge_index.encoders.encoder import Encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

IDS = np.array([[2, 17, 5, 99, 41, 41, 3], [2, 8, 63, 12, 70, 9, 3]])


def make(directory: Path, architecture: str = "Bert", dtype: Any = None, **settings: Any) -> Any:
    """Save a model of 2 layers, 32 wide; the large random weights make attention and activations matter."""
    torch.manual_seed(7)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.3,
        **settings,
    )
    model = getattr(transformers, f"{architecture}Model")(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "LayerNorm" in name:
            parameter.data += 0.2 * torch.randn_like(parameter)
    (model if dtype is None else model.to(dtype)).save_pretrained(directory)
    return model.float()


def expected(model: Any) -> NDArray[np.float32]:
    with torch.no_grad():
        states: NDArray[np.float32] = model(torch.tensor(IDS)).last_hidden_state.numpy()
    return states


def run(path: Path) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    states: NDArray[np.float32] = session.run(["last_hidden_state"], {"input_ids": IDS})[0]
    return states


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    product: NDArray[np.float32] = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return product


@pytest.mark.parametrize(
    ("architecture", "activation"),
    [
        ("Bert", "gelu"),
        ("Bert", "gelu_new"),
        ("Bert", "gelu_fast"),
        ("Bert", "relu"),
        ("XLMRoberta", "gelu"),
        ("Roberta", "gelu"),
    ],
)
def test_states_equal_those_of_transformers(tmp_path: Path, architecture: str, activation: str) -> None:
    padding = 0 if architecture == "Bert" else 1
    model = make(tmp_path, architecture, hidden_act=activation, pad_token_id=padding)
    np.testing.assert_allclose(
        run(to_encoder(tmp_path, tmp_path / "e.onnx", variant="fp32")), expected(model), atol=2e-5
    )
    assert cosines(run(to_encoder(tmp_path, tmp_path / "e8.onnx")), expected(model)).min() > 0.995


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_are_read(tmp_path: Path, dtype: str) -> None:
    model = make(tmp_path, dtype=getattr(torch, dtype))
    np.testing.assert_allclose(
        run(to_encoder(tmp_path, tmp_path / "e.onnx", variant="fp32")), expected(model), atol=2e-5
    )


def test_a_task_model_and_the_norms_of_2018_are_read(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = make(tmp_path)
    old = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(old, tmp_path / "model.safetensors")
    np.testing.assert_allclose(
        run(to_encoder(tmp_path, tmp_path / "e.onnx", variant="fp32")), expected(model), atol=2e-5
    )


def test_int8_weights_cannot_saturate_16_bits_and_are_near_the_originals(tmp_path: Path) -> None:
    """vpmaddubsw adds a0 * w0 + a1 * w1 of neighbouring rows in int16, with a up to 255."""
    model = make(tmp_path)
    file = onnx.load(to_encoder(tmp_path, tmp_path / "e.onnx"))
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
    whole = {name: array for name, array in arrays.items() if array.dtype == np.int8}
    assert len(whole) == 2 * 6
    state = model.state_dict()
    for name, matrix in whole.items():
        pairs = matrix.astype(int).reshape(-1, 2, matrix.shape[1])
        assert (255 * np.maximum(pairs, 0).sum(1)).max() <= 32767
        assert (255 * np.minimum(pairs, 0).sum(1)).min() >= -32768
        scale = arrays[name.removesuffix(".weight") + ".scale"]
        assert (np.abs(matrix * scale - state[name].numpy().T) <= scale * 0.501).all()


def test_a_token_whose_activations_are_all_zero_stays_finite(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    make(tmp_path, hidden_act="relu")
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.0.intermediate.dense.bias"] -= 1e4
    save_file(weights, tmp_path / "model.safetensors")
    assert np.isfinite(run(to_encoder(tmp_path, tmp_path / "e.onnx"))).all()


def _edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _only_pickle(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def _truncate(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _drop_a_tensor(directory: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(directory / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, directory / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: _edit_config(d, model_type="gpt2"), "gpt2"),
        (lambda d: _edit_config(d, position_embedding_type="relative_key"), "relative positions"),
        (lambda d: _edit_config(d, hidden_act="swish"), "swish"),
        (lambda d: (d / "config.json").write_text("{"), "not JSON"),
        (lambda d: (d / "config.json").write_text("[]"), "type None"),
        (lambda d: (d / "config.json").unlink(), "cannot read"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "damaged"),
        (_truncate, "damaged"),
        (_only_pickle, "pickle"),
        (_drop_a_tensor, "encoder.layer.1.output.dense.weight"),
    ],
)
def test_unusable_models_are_named_and_leave_nothing(tmp_path: Path, spoil: Any, words: str) -> None:
    source = tmp_path / "model"
    make(source)
    spoil(source)
    out = tmp_path / "out" / "e.onnx"
    out.parent.mkdir()
    out.write_bytes(b"an older file")
    with pytest.raises(ConversionError, match=words) as caught:
        to_encoder(source, out)
    assert str(source) in str(caught.value) or words == "swish"
    assert [(path.name, path.read_bytes()) for path in out.parent.iterdir()] == [("e.onnx", b"an older file")]


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="file"):
        to_encoder(tmp_path, tmp_path / "file" / "e.onnx")
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(StorageError, match=r"taken\.onnx"):
        to_encoder(tmp_path, tmp_path / "taken.onnx")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_a_converted_directory_is_an_encoder_by_itself(
    minilm_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a", "The quick brown fox jumps over the lazy dog.", "many words " * 300]
    expected, fingerprints = {}, {}
    for variant in ("fp32", "int8"):
        with Encoder.open(minilm_dir, variant=variant) as encoder:  # type: ignore[arg-type]
            expected[variant] = encoder.encode(texts)
        export = convert_encoder(minilm_dir, tmp_path / variant, variant=variant)  # type: ignore[arg-type]
        assert (export.kind, export.path) == ("encoder", str(tmp_path / variant))
        assert json.loads(Path(export.manifest).read_text())["options"]["variant"] == variant
    for package in ("torch", "onnx", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    for variant, vectors in expected.items():
        with Encoder.open(tmp_path / variant) as encoder:
            np.testing.assert_allclose(encoder.encode(texts), vectors, atol=1e-3)
            fingerprints[variant] = encoder.fingerprint
    shutil.copy(tmp_path / "int8/onnx/model_int8.onnx", tmp_path / "fp32/onnx")
    for variant in ("fp32", "int8"):
        with Encoder.open(tmp_path / "fp32", variant=variant) as encoder:  # type: ignore[arg-type]
            assert encoder.fingerprint == fingerprints[variant]


def test_other_architectures_name_the_environment_that_exports_them(
    minilm_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(minilm_dir, tmp_path / "m")
    _edit_config(tmp_path / "m", model_type="mpnet")
    monkeypatch.setitem(sys.modules, "optimum", None)
    with pytest.raises(MissingExtra, match=r"install .*optimum-onnx==0.1.0 .* in an environment of its own"):
        convert_encoder(tmp_path / "m", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != "edge-home"] == ["m"]


def test_a_folder_with_other_things_is_not_replaced(minilm_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(StorageError, match="other things"):
        convert_encoder(minilm_dir, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]
