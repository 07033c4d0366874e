"""`edge models import`: from files, folders and the stores of Ollama and LM Studio that the test lays out itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge import library
from edge.errors import EdgeError, ModelError, ModelNotFound, StorageError, UsageError
from edge_tui.cli.main import cli
from edge_tui.hub import importing
from hub_server import sha256


def write_gguf(path: Path, *, seed: int = 0, split: int = 0) -> Path:
    """A model of one block without a vocabulary, written by the gguf package; `split` tensors a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=split)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_tokenizer_model("no_vocab")
    random = np.random.default_rng(seed)
    for name in ("token_embd", "blk.0.attn_q", "output"):
        writer.add_tensor(f"{name}.weight", random.standard_normal((32, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def models(edge_home: Path) -> Path:
    return edge_home / "models"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, with nothing of the developer's in it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def onnx_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "genai_config.json").write_text('{"model": {"decoder": {"filename": "model.onnx"}}}')
    (path / "model.onnx").write_bytes(b"\x08\x0a")
    return path


def edge(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments], catch_exceptions=False, standalone_mode=False)


def test_a_copy_leaves_the_original_and_is_listed(elsewhere: Path, models: Path) -> None:
    source = write_gguf(elsewhere / "Some Model.gguf")
    with pytest.raises(UsageError, match="--name"):
        importing.import_model(str(source), models)
    done = edge("import", str(source), "--as", "some-model")
    assert done.stdout == f"{models / 'some-model.gguf'}\n"
    assert tree(models) == {"some-model.gguf": source.read_bytes()}
    folder = onnx_folder(elsewhere / "phi")
    encoder = elsewhere / "mini"
    (encoder / "1_Pooling").mkdir(parents=True)
    for name in ("modules.json", "config.json", "1_Pooling/config.json", "model.safetensors"):
        (encoder / name).write_bytes(b"[]")
    edge("import", str(folder))
    edge("import", str(encoder))
    assert tree(models / "phi") == tree(folder)
    assert tree(models / "mini") == tree(encoder)
    assert {(entry.name, entry.format) for entry in library.entries()} == {
        ("some-model", "gguf"), ("phi", "onnx"), ("mini", "encoder"),
    }  # fmt: skip


def test_a_link_points_to_the_original_and_its_removal_spares_it(elsewhere: Path, models: Path) -> None:
    source, folder = write_gguf(elsewhere / "a.gguf"), onnx_folder(elsewhere / "phi")
    edge("import", str(source), "--link")
    edge("import", str(folder), "--link")
    assert [entry.name for entry in library.models()] == ["a", "phi"]
    assert (models / "a.gguf").resolve() == source
    done = edge("remove", "a", "phi", "--yes")
    assert done.stderr.count("0 B are free again") == 2
    assert source.is_file()
    assert (folder / "model.onnx").is_file()
    assert list(models.iterdir()) == []


@pytest.mark.parametrize("one_disk", [True, False])
def test_a_move_moves(elsewhere: Path, models: Path, one_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = write_gguf(elsewhere / "a.gguf"), onnx_folder(elsewhere / "phi")
    before = source.read_bytes(), tree(folder)
    if not one_disk:
        monkeypatch.setattr(importing, "_one_disk", lambda targets, staging: False)
    edge("import", str(source), "--move")
    edge("import", str(folder), "--move")
    assert ((models / "a.gguf").read_bytes(), tree(models / "phi")) == before
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in models.iterdir()) == ["a.gguf", "phi"]


def test_parts_stay_together(elsewhere: Path, models: Path) -> None:
    write_gguf(elsewhere / "big.gguf", split=1)
    first = elsewhere / "big-00001-of-00003.gguf"
    assert importing.import_model(str(first), models, save_as="mine").name == "mine-00001-of-00003.gguf"
    assert tree(models) == {name.replace("big", "mine"): data for name, data in tree(elsewhere).items()}
    (entry,) = library.models()
    assert entry.bytes == sum(path.stat().st_size for path in elsewhere.iterdir())
    (elsewhere / "big-00002-of-00003.gguf").unlink()
    with pytest.raises(EdgeError, match="00002-of-00003"):
        importing.import_model(str(first), models)


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(elsewhere: Path, models: Path) -> None:
    old, new = write_gguf(elsewhere / "old/a.gguf"), write_gguf(elsewhere / "new/a.gguf", seed=1)
    edge("import", str(old))
    (models / "a.parity.json").write_text('{"checks": []}')
    with pytest.raises(StorageError, match="--replace"):
        importing.import_model(str(new), models)
    assert (models / "a.gguf").read_bytes() == old.read_bytes()
    edge("import", str(new), "--replace")
    assert tree(models) == {"a.gguf": new.read_bytes()}
    folder, other = onnx_folder(elsewhere / "phi"), onnx_folder(elsewhere / "other")
    (folder / "old.txt").write_text("x")
    edge("import", str(folder))
    edge("import", str(other), "--as", "phi", "--replace")
    assert tree(models / "phi") == tree(other)
    with pytest.raises(UsageError, match="the same"):
        importing.import_model(str(models / "phi"), models, replace=True)
    assert sorted(path.name for path in models.iterdir()) == ["a.gguf", "phi"]


def test_what_is_no_model_is_refused(elsewhere: Path, models: Path) -> None:
    cut = write_gguf(elsewhere / "cut.gguf")
    os.truncate(cut, cut.stat().st_size - 100)
    (elsewhere / "text.gguf").write_text("hello")
    empty = elsewhere / "empty"
    empty.mkdir()
    broken = onnx_folder(elsewhere / "broken")
    (broken / "genai_config.json").write_text("{")
    half = onnx_folder(elsewhere / "half")
    (half / "model.onnx").rename(half / "other.onnx")
    bare = elsewhere / "bare"
    bare.mkdir()
    (bare / "modules.json").write_text("[]")
    said = {cut: "truncated", elsewhere / "text.gguf": "not a GGUF", empty: "neither", broken: "damaged"}
    for path, words in (said | {half: "names model.onnx", bare: "no weights"}).items():
        with pytest.raises(ModelError, match=words):
            importing.import_model(str(path), models)
    with pytest.raises(ModelNotFound, match="does not exist"):
        importing.import_model(str(elsewhere / "none.gguf"), models)
    assert not models.exists()


def test_a_folder_of_links_is_copied_and_not_moved(elsewhere: Path, models: Path) -> None:
    """As the cache of huggingface_hub lays them out."""
    real = onnx_folder(elsewhere / "models--a--b" / "blobs")
    snapshot = elsewhere / "models--a--b" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for file in real.iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    with pytest.raises(UsageError, match="links"):
        importing.import_model(str(snapshot), models, how="move")
    importing.import_model(str(snapshot), models, save_as="phi")
    assert tree(models / "phi") == tree(real)
    assert not any(file.is_symlink() for file in (models / "phi").iterdir())
    (snapshot / "notes.txt").symlink_to(elsewhere)
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        importing.import_model(str(snapshot), models, save_as="other")


def ollama(store: Path, name: str, data: bytes, **more: Any) -> Path:
    """A model in Ollama's store, and its blob."""
    manifest = store / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{sha256(data)}", "size": len(data)},
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64, "size": 3},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers} | more))
    blob = store / "blobs" / f"sha256-{sha256(data)}"
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(data)
    return blob


def test_models_of_ollama_come_by_name(elsewhere: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = elsewhere / ".ollama/models"
    weights = [write_gguf(elsewhere / f"{seed}.gguf", seed=seed).read_bytes() for seed in range(3)]
    blob = ollama(store, "registry.ollama.ai/library/phi3/latest", weights[0])
    ollama(store, "registry.ollama.ai/library/phi3/medium", weights[1])
    ollama(store, "hf.co/owner/Tiny-GGUF/Q4_K_M", weights[2])
    edge("import", "ollama:phi3", "--link")
    assert (models / "phi3.gguf").resolve() == blob
    importing.import_model("ollama:phi3:medium", models)
    importing.import_model("ollama:hf.co/owner/Tiny-GGUF:Q4_K_M", models)
    assert tree(models) == {
        "phi3.gguf": weights[0], "phi3-medium.gguf": weights[1], "Tiny-GGUF-Q4_K_M.gguf": weights[2],
    }  # fmt: skip
    with pytest.raises(UsageError, match="ollama rm"):
        importing.import_model("ollama:phi3", models, how="move")
    with pytest.raises(ModelNotFound, match=r"phi3:latest, phi3:medium"):
        importing.import_model("ollama:gemma", models)
    ollama(store, "registry.ollama.ai/library/odd/latest", weights[0], layers=[])
    with pytest.raises(ModelError, match="odd"):
        importing.import_model("ollama:odd", models)
    monkeypatch.setenv("OLLAMA_MODELS", str(elsewhere / "other"))
    ollama(elsewhere / "other", "registry.ollama.ai/library/far/latest", weights[0])
    assert importing.find("ollama:far").path.parent == elsewhere / "other/blobs"


def test_models_of_lm_studio_come_by_name(elsewhere: Path, models: Path) -> None:
    store = elsewhere / ".lmstudio/models/lmstudio-community/Phi-3-GGUF"
    source = write_gguf(store / "Phi-3-Q4_K_M.gguf")
    write_gguf(store / "Phi-3-Q8_0.gguf", seed=1)
    with pytest.raises(ModelNotFound, match=r"several.*Q4_K_M.*Q8_0"):
        importing.import_model("lmstudio:phi-3", models)
    edge("import", "lmstudio:phi-3-q4")
    assert tree(models) == {"Phi-3-Q4_K_M.gguf": source.read_bytes()}
    with pytest.raises(ModelNotFound, match="none"):
        importing.import_model("lmstudio:llama", models)


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_tui.hub.importing import import_model

def progress(now):
    os.kill(os.getpid(), signal.SIGKILL)

import_model(sys.argv[1], Path(sys.argv[2]), progress=progress)
"""


def test_a_killed_import_shows_nothing(elsewhere: Path, models: Path) -> None:
    source = write_gguf(elsewhere / "a.gguf")
    done = subprocess.run([sys.executable, "-c", KILLED, str(source), str(models)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert library.entries() == []
    assert len(list(models.iterdir())) == 1
    importing.import_model(str(source), models)
    assert [path.name for path in models.iterdir()] == ["a.gguf"]
