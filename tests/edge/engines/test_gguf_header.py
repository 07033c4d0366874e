"""GGUF headers that are right, and lies that llama.cpp would die of."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.engines.llamacpp.gguf_check import check_gguf
from edge.engines.llamacpp.gguf_header import read_gguf_header
from edge.errors import ModelError, ModelNotFound
from gguf_files import seeds as gguf_seeds
from gguf_files.mutants import Gguf


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    kinds = ("phi3", "llama", "qwen2")
    return {kind: gguf_seeds.make_seed(folder / f"{kind}.gguf", kind).read_bytes() for kind in kinds}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["phi3", "llama", "qwen2"])
def test_a_header_says_what_the_gguf_package_reads(seeds: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    import gguf

    path = written(tmp_path / "good.gguf", seeds[kind])
    header, reader = check_gguf(path), gguf.GGUFReader(path)
    for tensor in reader.tensors:
        ours = header.tensors[tensor.name]
        assert (ours.kind, list(ours.shape)) == (tensor.tensor_type.name, tensor.shape.tolist()[::-1])
        assert (ours.start, ours.end - ours.start) == (tensor.data_offset, tensor.n_bytes)
    assert len(reader.tensors) == len(header.tensors)
    read = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    for name, value in header.settings.items():
        assert read[name] == value
    tokens = [token.decode() for token in header.strings("tokenizer.ggml.tokens")]
    assert tokens == read["tokenizer.ggml.tokens"]
    assert header.numbers("tokenizer.ggml.token_type") == read["tokenizer.ggml.token_type"]
    assert set(read) == {*header.settings, *header.arrays}


def test_a_real_model_and_a_file_with_a_vocabulary_only(smollm_path: Path, tmp_path: Path) -> None:
    assert len(check_gguf(smollm_path).tensors) == 272
    data = smollm_path.read_bytes()[:1_785_664]
    vocabulary = bytearray(data)
    vocabulary[8:16] = bytes(8)  # no tensors
    path = written(tmp_path / "vocabulary.gguf", bytes(vocabulary))
    assert not check_gguf(path, vocab_only=True).tensors


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        read_gguf_header(tmp_path / "absent.gguf")
    for data in (b"", b"GG", b"PK\x03\x04", b"GGUF", b"GGUF\x03\0\0\0"):
        with pytest.raises(ModelError, match=r"not a GGUF file|header ends early"):
            read_gguf_header(written(tmp_path / "other.gguf", data))
    with pytest.raises(ModelError, match="cannot be read"):
        read_gguf_header(tmp_path)


def setting(key: str, kind: int, value: object) -> Callable[[Gguf], None]:
    def change(made: Gguf) -> None:
        made.settings = [entry for entry in made.settings if entry[0] != key.encode()]
        made.settings.append((key.encode(), kind, value))

    return change


def without(*names: str) -> Callable[[Gguf], None]:
    def change(made: Gguf) -> None:
        made.settings = [entry for entry in made.settings if entry[0].decode() not in names]
        made.tensors = [tensor for tensor in made.tensors if tensor.name.decode() not in names]

    return change


def tensor(called: str, **values: object) -> Callable[[Gguf], None]:
    def change(made: Gguf) -> None:
        chosen = next(tensor for tensor in made.tensors if tensor.name == called.encode())
        for key, value in values.items():
            setattr(chosen, key, value)

    return change


def twice(made: Gguf) -> None:
    made.settings.append(made.settings[1])


def array(key: str, change: Callable[[list[object]], object]) -> Callable[[Gguf], None]:
    def apply(made: Gguf) -> None:
        at = next(i for i, entry in enumerate(made.settings) if entry[0] == f"tokenizer.ggml.{key}".encode())
        name, kind, (inner, values) = made.settings[at]
        values = list(values)
        change(values)
        made.settings[at] = name, kind, (inner, values)

    return apply


LIES = [
    ("phi3", setting("general.alignment", 4, 48), "alignment of 48"),
    ("phi3", setting("general.alignment", 4, 0), "alignment of 0"),
    ("phi3", setting("general.architecture", 4, 1), "does not say its architecture"),
    ("phi3", setting("", 4, 1), "a name of 0 bytes"),
    ("phi3", setting("x", 9, (9, [])), "array of the type 9"),
    ("phi3", setting("phi3.attention.layer_norm_rms_epsilon", 6, float("nan")), "epsilon is nan"),
    ("phi3", setting("phi3.attention.layer_norm_rms_epsilon", 6, -1.0), "epsilon is -1"),
    ("phi3", setting("phi3.block_count", 4, 0), "block_count is 0"),
    ("phi3", setting("phi3.block_count", 4, 600), "block_count is 600"),
    ("phi3", setting("phi3.block_count", 4, 1), r"blk\.1\.\w+\.weight and says that it has 1 blocks"),
    ("phi3", setting("phi3.context_length", 4, 0), "context_length is 0"),
    ("phi3", setting("phi3.context_length", 10, 1 << 40), "context_length is 1099511627776"),
    ("phi3", setting("phi3.embedding_length", 8, b"64"), "embedding_length is 64"),
    ("phi3", without("phi3.embedding_length"), "does not say phi3.embedding_length"),
    ("phi3", setting("phi3.attention.head_count_kv", 4, 0), "4 heads and 0|no head of keys"),
    ("phi3", setting("phi3.attention.head_count_kv", 4, 3), "4 heads and 3 of keys"),
    ("llama", setting("llama.attention.head_count_kv", 9, (4, [2])), "1 values for 2 blocks"),
    ("phi3", setting("phi3.attention.key_length", 4, 0), "key_length is 0"),
    ("llama", setting("llama.attention.value_length", 4, 8), "keys of 16 and values of 8"),
    ("qwen2", setting("qwen2.rope.dimension_count", 4, 8), "8 of 16 dimensions are rotated"),
    ("phi3", setting("phi3.rope.dimension_count", 4, 7), "7 of 16 dimensions are rotated"),
    ("phi3", setting("phi3.rope.scaling.type", 8, b"magic"), "rope scaling 'magic'"),
    ("llama", setting("llama.expert_count", 4, 4), "0 of 4 experts"),
    ("phi3", without("blk.1.attn_qkv.weight"), "blk.1 lacks its attention"),
    ("phi3", tensor("output_norm.weight", kind=1, data=bytes(128)), "output_norm.weight is of type F16"),
    ("phi3", tensor("blk.0.ffn_up.weight", kind=26), "is of type I32"),
    ("phi3", tensor("blk.0.ffn_up.weight", kind=5), "unknown type 5"),
    ("phi3", tensor("blk.0.ffn_up.weight", shape=[64, 0]), r"shape \[64, 0\]"),
    ("phi3", tensor("blk.0.ffn_up.weight", shape=[33, 192], kind=8), r"shape \[33, 192\]"),
    ("phi3", tensor("blk.0.ffn_up.weight", shape=[1 << 62, 8]), "lies at .* where|ends at"),
    ("phi3", tensor("blk.0.ffn_up.weight", shape=[64, 192, 1, 1, 1]), "5 dimensions"),
    ("phi3", tensor("blk.0.ffn_up.weight", shape=[]), "0 dimensions"),
    ("phi3", tensor("blk.0.ffn_up.weight", name=b"n" * 64), "a name of 64 bytes"),
    ("phi3", tensor("blk.0.ffn_up.weight", name=b"output_norm.weight"), "two tensors are called"),
    ("phi3", tensor("blk.0.ffn_up.weight", name=b"a\0b"), "a zero in it"),
    ("phi3", setting("general.architecture", 8, b"phi3\0"), "'general.architecture' with a zero in it"),
    ("phi3", twice, "says 'general.name' twice"),
    ("phi3", array("tokens", lambda values: values.__setitem__(9, values[8])), "a token occurs twice"),
    ("phi3", array("token_type", lambda values: values.pop()), "260 token_type for 261 tokens"),
    ("phi3", array("token_type", lambda values: values.__setitem__(5, 99)), "a token of an unknown type"),
    ("llama", array("tokens", lambda values: values.__setitem__(10, b"else")), "no token for the byte 0x07"),
    ("phi3", setting("tokenizer.ggml.bos_token_id", 4, 261), "its bos token is 261"),
    ("phi3", without("tokenizer.ggml.tokens"), "it has no tokens"),
]


@pytest.mark.parametrize(("kind", "change", "reason"), LIES, ids=[reason for *_, reason in LIES])
def test_a_lie_is_found(
    seeds: dict[str, bytes], tmp_path: Path, kind: str, change: Callable[[Gguf], None], reason: str
) -> None:
    made = Gguf.read(seeds[kind])
    change(made)
    path = written(tmp_path / "lie.gguf", made.write())
    with pytest.raises(ModelError, match=rf"lie\.gguf is truncated or damaged .*{reason}.*; download or convert"):
        check_gguf(path)


def test_counts_that_no_file_could_hold(seeds: dict[str, bytes], tmp_path: Path) -> None:
    for at in (8, 16):
        for count in (1 << 20, 1 << 62, (1 << 64) - 1):
            data = bytearray(seeds["llama"])
            data[at : at + 8] = struct.pack("<Q", count)
            with pytest.raises(ModelError, match="more than it can hold"):
                read_gguf_header(written(tmp_path / "counts.gguf", bytes(data)))


def split(data: bytes, folder: Path, *, second: int = 1) -> Path:
    """The model in two files; the second says that it is number `second`."""
    whole = Gguf.read(data)
    numbers = [(b"split.count", 2, 2), (b"split.tensors.count", 5, len(whole.tensors))]
    for number, (settings, tensors) in enumerate(((whole.settings, whole.tensors[:5]), ([], whole.tensors[5:]))):
        no = (b"split.no", 2, second if number else 0)
        written(folder / f"m-0000{number + 1}-of-00002.gguf", Gguf([*settings, no, *numbers], tensors).write())
    return folder / "m-00001-of-00002.gguf"


def test_every_part_of_a_split_file_is_checked(seeds: dict[str, bytes], tmp_path: Path) -> None:
    first = split(seeds["llama"], tmp_path)
    check_gguf(first)
    second = tmp_path / "m-00002-of-00002.gguf"
    whole = second.read_bytes()
    second.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match=r"m-00002-of-00002\.gguf is truncated"):
        check_gguf(first)
    second.unlink()
    with pytest.raises(ModelNotFound, match="m-00002-of-00002"):
        check_gguf(first)
    with pytest.raises(ModelError, match="does not say that it is part 2"):
        check_gguf(split(seeds["llama"], tmp_path, second=5))
    renamed = first.rename(tmp_path / "other.gguf")
    with pytest.raises(ModelError, match="name the first"):
        check_gguf(renamed)
