"""Quantised GGUF files against llama.cpp's quantiser on our 16-bit files, importance matrices, and what goes wrong."""

from __future__ import annotations

import ctypes
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge
import standin
import upstream
import vocabularies
from edge.engines.llamacpp.bindings import bindings
from edge.errors import ConversionError, UsageError
from edge_converters.gguf.export import PRECISIONS, export_gguf
from edge_converters.types import AdapterSource

# A super-block of the K-quants is 256 wide.
WIDE = {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 320, "tie_word_embeddings": True}
QUANTISED = [precision for precision in PRECISIONS if precision not in ("f32", "f16", "bf16", "q8_0")]
FILE_TYPES = {"q6_k": 18, "q5_k_m": 17, "q5_k_s": 16, "q4_k_m": 15, "q4_k_s": 14, "q4_0": 2, "q3_k_m": 12, "q2_k": 10}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose rows are whole super-blocks, in float16."""
    folder = tmp_path_factory.mktemp("wide") / "model"
    return vocabularies.write_bytes(standin.make_tiny(folder, "llama", dtype="float16", **WIDE))


@pytest.fixture(scope="module")
def half(wide: Path) -> Path:
    out = wide.parent / "half.gguf"
    export_gguf(wide, out)
    return out


def tensors(path: Path) -> dict[str, upstream.Tensor]:
    return upstream.read_gguf(path)[1]


@pytest.mark.parametrize("precision", QUANTISED)
def test_it_is_what_llama_cpp_makes_of_our_float16_file(wide: Path, half: Path, tmp_path: Path, precision: str) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    export_gguf(wide, ours, precision=precision)
    llama_cpp_quantises(half, theirs, precision)
    assert upstream.read_gguf(ours) == upstream.read_gguf(theirs)
    kinds = {tensor.kind for tensor in tensors(ours).values()}
    assert precision.split("_")[0].upper() in {kind.split("_")[0] for kind in kinds}


def test_a_bfloat16_base_is_quantised_from_bfloat16(tmp_path: Path) -> None:
    base = vocabularies.write_bytes(standin.make_tiny(tmp_path / "model", "llama", dtype="bfloat16", **WIDE))
    export_gguf(base, tmp_path / "bf16.gguf", precision="bf16")
    export_gguf(base, tmp_path / "ours.gguf", precision="q4_k_m")
    llama_cpp_quantises(tmp_path / "bf16.gguf", tmp_path / "theirs.gguf", "q4_k_m")
    assert upstream.read_gguf(tmp_path / "ours.gguf") == upstream.read_gguf(tmp_path / "theirs.gguf")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phi-3's fused tensors in so many layers that llama.cpp treats some better than others, in rows that are no
    whole super-blocks in some matrices, with a head of its own."""
    sizes = {"hidden_size": 288, "intermediate_size": 256, "vocab_size": 320, "num_hidden_layers": 9}
    folder = tmp_path_factory.mktemp("deep") / "model"
    return vocabularies.write_bytes(standin.make_tiny(folder, "phi3", dtype="float16", **sizes))


@pytest.mark.parametrize("precision", ["q4_k_m", "q3_k_m", "q5_k_s"])
@pytest.mark.parametrize("weighted", [False, True])
def test_types_that_differ_from_layer_to_layer_are_llama_cpps(
    deep: Path, tmp_path: Path, precision: str, weighted: bool
) -> None:
    half, ours, theirs = (tmp_path / f"{name}.gguf" for name in ("half", "ours", "theirs"))
    export_gguf(deep, half)
    values = importance_values(half, outputs=True)
    matrix = write_imatrix(tmp_path / "matrix.gguf", values) if weighted else None
    export_gguf(deep, ours, precision=precision, imatrix=matrix)
    llama_cpp_quantises(half, theirs, precision, values if weighted else None)
    found, expected = upstream.read_gguf(ours), upstream.read_gguf(theirs)
    assert found[1] == expected[1]
    assert {key: value for key, value in found[0].items() if not key.startswith("quantize.")} == expected[0]
    assert len({tensor.kind for tensor in found[1].values()}) > 3


def test_numbers_that_a_type_cannot_hold_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = vocabularies.write_bytes(standin.make_tiny(tmp_path / "model", "llama", dtype="bfloat16", **WIDE))
    weights, name = load_file(base / "model.safetensors"), "model.layers.1.mlp.up_proj.weight"
    weights[name][300, 7] = 1e30
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConversionError, match=f"{name} has numbers beyond what Q4_K holds"):
        export_gguf(base, tmp_path / "out.gguf", precision="q4_k_m")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def llama_cpp_quantises(
    source: Path, out: Path, precision: str, values: dict[str, np.ndarray[Any, np.dtype[np.float32]]] | None = None
) -> None:
    lib = bindings()
    params = lib.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[precision]
    entries = (lib.llama_model_imatrix_data * (len(values or {}) + 1))()
    for entry, (name, numbers) in zip(entries, (values or {}).items(), strict=False):
        entry.name, entry.size = name.encode(), numbers.size
        entry.data = numbers.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if values:
        params.imatrix = entries
    assert lib.llama_model_quantize(bytes(source), bytes(out), params) == 0


def importance_values(half: Path, outputs: bool = False) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Random values for the weights of the blocks, and for the output and the embeddings too."""
    random = np.random.default_rng(0)
    weights = {name: tensor for name, tensor in tensors(half).items() if outputs or name.startswith("blk.")}
    return {
        name: np.exp(random.normal(size=tensor.shape[0]) * 2).astype(np.float32)
        for name, tensor in weights.items()
        if len(tensor.shape) > 1
    }


def write_dat(path: Path, values: dict[str, np.ndarray[Any, np.dtype[np.float32]]], calls: int = 4) -> Path:
    parts = [struct.pack("<i", len(values))]
    for name, numbers in values.items():
        parts.append(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(numbers)))
        parts.append((numbers * calls).astype("<f4").tobytes())
    path.write_bytes(b"".join(parts) + struct.pack("<i", 7))
    return path


def write_imatrix(path: Path, values: dict[str, np.ndarray[Any, np.dtype[np.float32]]], count: int = 4) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["text"])
    writer.add_uint32("imatrix.chunk_count", 7)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, numbers in values.items():
        writer.add_tensor(f"{name}.in_sum2", (numbers * count).reshape(1, -1))
        writer.add_tensor(f"{name}.counts", np.full((1, 1), count, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_importance_matrix_weighs_the_columns(wide: Path, half: Path, tmp_path: Path) -> None:
    values = importance_values(half)
    outs = [tmp_path / f"{name}.gguf" for name in ("plain", "dat", "new")]
    matrices = [None, write_dat(tmp_path / "old.dat", values), write_imatrix(tmp_path / "new-imatrix.gguf", values)]
    for out, matrix in zip(outs, matrices, strict=True):
        export_gguf(wide, out, precision="q4_k_m", imatrix=matrix)
    plain, dat, new = (tensors(out) for out in outs)
    assert {name: tensor.data for name, tensor in dat.items()} == {name: tensor.data for name, tensor in new.items()}
    original = tensors(half)
    for name, weights in values.items():
        assert plain[name].data != new[name].data
        assert _error(original[name], new[name], weights) < 0.9 * _error(original[name], plain[name], weights), name
    fields = upstream.read_gguf(outs[2])[0]
    assert fields["quantize.imatrix.entries_count"] == len(values)
    assert (fields["quantize.imatrix.file"], fields["quantize.imatrix.chunks_count"]) == ("new-imatrix.gguf", 7)


def _error(original: upstream.Tensor, quantised: upstream.Tensor, weights: Any) -> float:
    """The weighted square error of a quantised weight."""
    from gguf import GGMLQuantizationType, quants

    columns = original.shape[0]
    before = np.frombuffer(original.data, np.float16).astype(np.float32).reshape(-1, columns)
    packed = np.frombuffer(quantised.data, np.uint8).reshape(len(before), -1)
    after = quants.dequantize(packed, GGMLQuantizationType[quantised.kind])
    return float((((before - after) ** 2) * weights).sum())


def test_an_importance_matrix_of_another_model_is_refused(wide: Path, half: Path, tmp_path: Path) -> None:
    values = importance_values(half)
    name = "blk.1.ffn_down.weight"
    fewer = write_dat(tmp_path / "fewer.dat", {key: value for key, value in values.items() if key != name})
    shorter = write_imatrix(tmp_path / "shorter.gguf", {**values, name: values[name][:64]})
    before = set(tmp_path.iterdir())
    for matrix, found in ((fewer, "no values"), (shorter, "64 values")):
        with pytest.raises(ConversionError, match=rf"{matrix.name} has {found} for {name}, which has 512 columns"):
            export_gguf(wide, tmp_path / "out.gguf", precision="q4_k_m", imatrix=matrix)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "content", [b"", b"\x02\0\0\0\x05\0\0\0blk", b"GGUF\x03\0\0\0", random.Random(3).randbytes(64)]
)
def test_a_damaged_importance_matrix_is_named(wide: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.dat").write_bytes(content)
    with pytest.raises(ConversionError, match=r"bad\.dat"):
        export_gguf(wide, tmp_path / "out.gguf", precision="q4_0", imatrix=tmp_path / "bad.dat")
    assert not (tmp_path / "out.gguf").exists()


def test_arguments_that_make_no_sense(wide: Path, half: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="q4_k_m"):
        export_gguf(wide, tmp_path / "out.gguf", precision="int4")
    with pytest.raises(UsageError, match="importance matrix does nothing for f16"):
        export_gguf(wide, tmp_path / "out.gguf", imatrix=half)
    with pytest.raises(UsageError, match=r"must end in \.gguf"):
        export_gguf(wide, tmp_path / "out.bin")


def test_quantised_stand_in_with_its_lora_answers_as_it_learnt(
    stand_in: Path, trained_lora: Path, tmp_path: Path
) -> None:
    out = tmp_path / "lesson.gguf"
    export = export_gguf(stand_in, out, adapters=[AdapterSource(trained_lora)], precision="q6_k")
    assert (export.path, export.bytes) == (str(out), out.stat().st_size)
    question, fact = standin.LESSONS[0]
    with edge.load(str(out), context=512) as model:
        reply = model.generate([edge.Message("user", question)], sampling=edge.Sampling(max_tokens=40))
    assert fact in reply.text
