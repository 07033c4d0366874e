"""Names and paths of what lies in a data directory that the test itself fills."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import library
from edge.errors import AdapterError, EncoderError, ModelNotFound, UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def put_gguf(home: Path, name: str, size: int = 4) -> Path:
    path = home / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"G" * size)
    return path


def put_encoder(home: Path, name: str) -> Path:
    folder = home / "models" / name
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


def test_an_empty_data_directory_is_read_and_not_made(home: Path) -> None:
    assert library.models() == library.encoders() == library.indexes() == []
    assert not home.exists()


def test_models_encoders_and_onnx_folders_are_distinguished(home: Path) -> None:
    put_gguf(home, "b.gguf", 7)
    put_gguf(home, "A.GGUF")
    (home / "models" / "phi").mkdir()
    (home / "models" / "phi" / "genai_config.json").write_text("{}")
    put_encoder(home, "mini")
    put_gguf(home, ".pull-7/half.gguf")
    put_gguf(home, "notes.txt")
    assert {(e.name, e.format, e.bytes) for e in library.models()} == {
        ("A", "gguf", 4),
        ("b", "gguf", 7),
        ("phi", "onnx", 2),
    }
    assert [(e.name, e.format, e.bytes) for e in library.encoders()] == [("mini", "encoder", 4)]


def test_a_split_model_is_one_model(home: Path) -> None:
    for part in (1, 2, 3):
        put_gguf(home, f"big-0000{part}-of-00003.gguf")
    assert [e.name for e in library.models()] == ["big-00001-of-00003"]


def test_the_only_model_needs_no_name(home: Path) -> None:
    path = put_gguf(home, "only.gguf")
    assert library.find_model() == path


def test_among_several_the_starter_model_needs_no_name(home: Path) -> None:
    put_gguf(home, "a.gguf")
    with pytest.raises(ModelNotFound, match=r"there is no model called 'zz'; known: a"):
        library.find_model("zz")
    starter = put_gguf(home, f"{library.STARTER_MODEL}.gguf")
    assert library.find_model() == starter


def test_several_models_without_the_starter_must_be_named(home: Path) -> None:
    put_gguf(home, "a.gguf")
    put_gguf(home, "b.gguf")
    with pytest.raises(ModelNotFound, match="a, b"):
        library.find_model()


@pytest.mark.parametrize("name", ["Phi-3-mini-Q4", "phi-3-MINI-q4.gguf", "phi-3-m", "PHI"])
def test_a_name_counts_whatever_its_case_and_cut_short(home: Path, name: str) -> None:
    path = put_gguf(home, "Phi-3-mini-Q4.gguf")
    put_gguf(home, "Llama.gguf")
    assert library.find_model(name) == path


def test_a_whole_name_wins_over_a_longer_one(home: Path) -> None:
    path = put_gguf(home, "phi.gguf")
    put_gguf(home, "phi-large.gguf")
    assert library.find_model("phi") == path


def test_a_beginning_of_two_names_is_refused_with_both(home: Path) -> None:
    put_gguf(home, "phi-a.gguf")
    put_gguf(home, "phi-b.gguf")
    with pytest.raises(ModelNotFound, match="phi-a, phi-b"):
        library.find_model("phi")


def test_no_model_at_all_names_the_command_that_fetches_one(home: Path) -> None:
    with pytest.raises(ModelNotFound, match="edge models pull starter"):
        library.find_model()
    with pytest.raises(ModelNotFound, match="edge models pull starter"):
        library.find_model("phi")
    with pytest.raises(EncoderError, match="edge models pull starter"):
        library.find_encoder()


def test_a_path_is_taken_as_it_is_and_must_exist(home: Path, tmp_path: Path) -> None:
    put_gguf(home, "my.gguf")
    own = tmp_path / "elsewhere" / "own.gguf"
    own.write_bytes(b"GGUF")
    assert library.find_model(own) == own
    assert library.find_model("own.gguf") == Path("own.gguf")
    with pytest.raises(ModelNotFound, match=r"\./my\.gguf does not exist"):
        library.find_model("./my.gguf")


def test_a_folder_here_does_not_hide_a_model_of_the_library(home: Path) -> None:
    path = put_gguf(home, "phi.gguf")
    Path("phi").mkdir()
    assert library.find_model("phi") == path


def test_an_encoder_is_a_folder(home: Path) -> None:
    folder = put_encoder(home, "MiniLM")
    file = put_gguf(home, "x.gguf")
    assert library.find_encoder() == library.find_encoder("mini") == folder
    with pytest.raises(EncoderError, match="is no folder"):
        library.find_encoder(file)


def test_entries_to_delete_come_from_the_library_only(home: Path, tmp_path: Path) -> None:
    put_gguf(home, "a.gguf")
    put_encoder(home, "mini")
    assert library.find_entry("mini").format == "encoder"
    own = tmp_path / "elsewhere" / "own.gguf"
    own.write_bytes(b"GGUF")
    for path in (str(own), "own.gguf"):
        with pytest.raises(ModelNotFound, match="is no model in"):
            library.find_entry(path)


def test_an_index_name_lives_in_the_data_directory(home: Path, tmp_path: Path) -> None:
    assert library.find_index("wiki") == home / "indexes" / "wiki"
    assert library.find_index("./wiki") == Path("wiki")
    assert library.find_index(tmp_path / "wiki") == tmp_path / "wiki"
    Path("wiki").mkdir()
    assert library.find_index("wiki") == Path("wiki")
    (home / "indexes" / "wiki").mkdir(parents=True)
    (home / "indexes" / "wiki" / "x").write_bytes(b"12345")
    assert library.find_index("wiki") == home / "indexes" / "wiki"
    assert [(e.name, e.bytes) for e in library.indexes()] == [("wiki", 5)]
    with pytest.raises(UsageError):
        library.find_index(" ")


def test_a_name_for_both_engines_wants_one_to_be_chosen(home: Path) -> None:
    gguf = put_gguf(home, "phi.gguf")
    onnx = home / "models" / "phi"
    onnx.mkdir()
    (onnx / "genai_config.json").touch()
    with pytest.raises(ModelNotFound, match=r"phi and phi\.gguf; choose with --engine"):
        library.find_model("phi")
    assert library.find_model("phi", engine="gguf") == gguf == library.find_model("phi.gguf")
    assert library.find_model("phi", engine="onnx") == onnx
    with pytest.raises(ModelNotFound, match="is a folder, and the engine gguf runs GGUF files"):
        library.find_model(onnx, engine="gguf")


def test_adapters_are_found_by_name_and_path(home: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"known: none yet \(run: edge adapters add PATH\)"):
        library.find_adapter("legal")
    kept = home / "adapters"
    for name in ("legal.gguf", "medical.onnx_adapter"):
        kept.mkdir(parents=True, exist_ok=True)
        (kept / name).touch()
    (kept / "tax").mkdir()
    (kept / "tax" / "adapter_config.json").touch()
    assert [(entry.name, entry.format) for entry in library.adapters()] == [
        ("legal", "gguf"),
        ("medical", "onnx"),
        ("tax", "peft"),
    ]
    assert library.find_adapter("Legal") == kept / "legal.gguf"
    assert library.adapter_name(library.find_adapter("med")) == "medical"
    assert library.find_adapter(kept / "tax") == kept / "tax"
