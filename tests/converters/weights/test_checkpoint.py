"""Model directories, held against what safetensors and transformers wrote and read; and broken ones."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import standin
from edge.errors import ConversionError
from edge_converters.weights.checkpoint import Checkpoint, TensorFiles, read_header


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.make_tiny(tmp_path_factory.mktemp("checkpoint") / "whole", "llama", dtype="bfloat16")


@pytest.fixture
def sharded(tmp_path: Path, whole: Path) -> Path:
    """The same weights in several shards, as transformers writes them."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(whole, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    return tmp_path / "sharded"


@pytest.fixture
def broken(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "broken"))


def test_tensors_are_those_that_were_written(whole: Path, sharded: Path) -> None:
    expected = load_file(whole / "model.safetensors")
    for folder in (whole, sharded):
        checkpoint = Checkpoint(folder)
        assert set(checkpoint.tensors) == set(expected)
        for name, tensor in expected.items():
            read = checkpoint.read(name)
            assert read.dtype == torch.bfloat16
            assert tuple(read.shape) == checkpoint.tensors[name].shape
            assert torch.equal(read, tensor)
            assert torch.equal(checkpoint.read(name, slice(1, 3)), tensor[1:3])
            assert bytes(checkpoint.bytes_of(name)) == tensor.view(torch.uint8).numpy().tobytes()


def test_every_type_and_shape_is_read(tmp_path: Path) -> None:
    tensors = {
        "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
        "float": torch.tensor(1.5),
        "empty": torch.zeros(0, 4),
        "whole": torch.arange(5, dtype=torch.int64),
        "truth": torch.tensor([True, False]),
    }
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    files, header = TensorFiles(), read_header(tmp_path / "a.safetensors")
    assert set(header) == set(tensors)
    for name, tensor in tensors.items():
        assert files.read(header[name]).shape == tensor.shape
        assert torch.equal(files.read(header[name]), tensor)


def test_writing_into_a_tensor_never_reaches_the_file(broken: Path) -> None:
    before = (broken / "model.safetensors").read_bytes()
    Checkpoint(broken).read("model.norm.weight").zero_()
    assert (broken / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("kept", [4, 100, 5_000, -1])
def test_a_file_that_is_cut_short_is_named(broken: Path, kept: int) -> None:
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ConversionError, match=r"model\.safetensors.*cut short.*fetch it again"):
        Checkpoint(broken)


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    def write(entries: object) -> Path:
        raw = json.dumps(entries).encode()
        path = tmp_path / "lie.safetensors"
        path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(64))
        return path

    good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for entries in (
        {"a": {**good, "shape": [3]}},
        {"a": {**good, "data_offsets": [-8, 0]}},
        {"a": good, "b": good},
        {"a": {**good, "data_offsets": [8, 16]}},
        {"a": {"dtype": "F32"}},
        [1, 2],
        {"a": 3},
    ):
        with pytest.raises(ConversionError, match="damaged header"):
            read_header(write(entries))


def test_shards_that_are_absent_or_wrong_are_named(sharded: Path) -> None:
    shards = sorted(sharded.glob("*.safetensors"))
    aside = shards[1].rename(sharded / "aside")
    with pytest.raises(ConversionError, match=rf"1 of {len(shards)} files .*{shards[1].name}"):
        Checkpoint(sharded)
    shutil.copy(shards[0], shards[1])
    with pytest.raises(ConversionError, match="stands in"):
        Checkpoint(sharded)
    save_file({"other": torch.zeros(1)}, shards[1])
    with pytest.raises(ConversionError, match=rf"is in {shards[1].name}, which does not hold it"):
        Checkpoint(sharded)
    aside.replace(shards[1])
    Checkpoint(sharded)
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(ConversionError, match="how they belong together"):
        Checkpoint(sharded)


def test_an_index_cannot_point_out_of_its_folder(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["lm_head.weight"] = "../other/model.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(ConversionError, match="no plain file name"):
        Checkpoint(sharded)


def test_pickles_are_refused_with_the_way_out(broken: Path) -> None:
    weights = load_file(broken / "model.safetensors")
    (broken / "model.safetensors").unlink()
    torch.save(weights, broken / "pytorch_model.bin")
    with pytest.raises(ConversionError, match=r"pytorch_model\.bin is a pickle.*save_pretrained"):
        Checkpoint(broken)
    (broken / "pytorch_model.bin").rename(broken / "model.safetensors")
    with pytest.raises(ConversionError, match="pickle that was renamed"):
        Checkpoint(broken)


def test_folders_that_are_no_model_say_what_they_are(tmp_path: Path, broken: Path) -> None:
    with pytest.raises(ConversionError, match="is no folder"):
        Checkpoint(tmp_path / "nowhere")
    (tmp_path / "lora").mkdir()
    with pytest.raises(ConversionError, match=r"has no config\.json; give the folder"):
        Checkpoint(tmp_path / "lora")
    (tmp_path / "lora" / "adapter_config.json").write_text("{}")
    with pytest.raises(ConversionError, match="it is a LoRA"):
        Checkpoint(tmp_path / "lora")
    (broken / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(ConversionError, match="git lfs pull"):
        Checkpoint(broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(ConversionError, match="fetch the weights too"):
        Checkpoint(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(ConversionError, match=r"config\.json is not JSON"):
        Checkpoint(broken)
