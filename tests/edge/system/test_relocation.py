"""Cache and settings of an older version, in its data directory, come to where the platform keeps such things."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from edge.system import paths
from edge.system.relocation import move_old_places

CONFIG = 'model = "phi3"\n'
FILES = {"checksums.json": "{}", "kv/abc/7-0.kv": "state", "encoders/mini/model.onnx": "weights"}

# Counts what changes a file system and ends the process, as a kill does, right before the call of that number.
KILLED = """
import os, shutil, sys
left, other = int(sys.argv[1]), sys.argv[2] == "other"
def before(module, name):
    real = getattr(module, name)
    def call(*rest, **more):
        global left
        left -= 1
        if not left:
            os._exit(9)
        if other and name == "rename" and "moving" not in str(rest[0]):
            import errno
            raise OSError(errno.EXDEV, "other file system")
        return real(*rest, **more)
    setattr(module, name, call)
for name in ("rename", "link", "unlink", "mkdir", "rmdir", "symlink", "open"):
    before(os, name)
before(shutil, "copy2")
from edge.system.relocation import move_old_places
print(move_old_places())
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders, and an older version's data directory in them."""
    monkeypatch.delenv("EDGE_HOME")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    if Path(platformdirs.user_cache_dir("edge")) != tmp_path / "cache" / "edge":
        pytest.skip("this platform knows no XDG folders")
    old = tmp_path / "data" / "edge"
    for name, text in FILES.items():
        (old / "cache" / name).parent.mkdir(parents=True, exist_ok=True)
        (old / "cache" / name).write_text(text)
    (old / "config.toml").write_text(CONFIG)
    (old / "cache" / "docs" / "d1").mkdir(parents=True)
    with sqlite3.connect(old / "cache" / "docs" / "d1" / "index.sqlite") as database:
        database.execute("CREATE TABLE t AS SELECT 'kept' AS x")
    database.close()
    return tmp_path


def assert_moved(places: Path) -> None:
    new = places / "cache" / "edge"
    assert (places / "config" / "edge" / "config.toml").read_text() == CONFIG
    assert {name: (new / name).read_text() for name in FILES} == FILES
    with sqlite3.connect(new / "docs" / "d1" / "index.sqlite") as database:
        assert database.execute("SELECT x FROM t").fetchall() == [("kept",)]
    database.close()
    assert list((places / "data" / "edge").iterdir()) == []
    assert list(places.rglob("*.moving")) == []


def killed_at(call: int, where: str) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, str(call), where], capture_output=True).returncode


def test_the_places_are_the_platforms_and_all_below_edge_home_where_that_is_set(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.home() == places / "data" / "edge"
    assert paths.models_dir() == places / "data" / "edge" / "models"
    assert paths.cache_dir() == places / "cache" / "edge"
    assert paths.config_dir() == places / "config" / "edge"
    monkeypatch.setenv("EDGE_HOME", str(places / "stick"))
    assert paths.cache_dir() == places / "stick" / "cache"
    assert paths.config_file() == places / "stick" / "config.toml"
    assert move_old_places() == []
    assert (places / "data" / "edge" / "config.toml").exists()


def test_they_are_moved_once(places: Path) -> None:
    assert move_old_places() == []
    assert_moved(places)
    assert paths.config_file() == places / "config" / "edge" / "config.toml"
    assert move_old_places() == []
    assert_moved(places)


@pytest.mark.parametrize("where", ["same", "other"])
def test_a_kill_at_any_point_loses_nothing(places: Path, where: str) -> None:
    """With another file system in between, what can only be renamed within one is copied."""
    calls = 0
    while killed_at(calls + 1 if calls < 4 else calls + 5, where) == 9:
        calls += 1 if calls < 4 else 5
        assert paths.config_file().read_text() == CONFIG
        for path in (places / "cache" / "edge").rglob("*.kv"):
            assert path.read_text() == "state" or ".moving" in str(path)
    assert calls > 4
    assert_moved(places)


def test_two_that_start_at_the_same_time_move_them_once(places: Path) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", KILLED, "0", where], stdout=subprocess.PIPE, text=True)
        for where in ("other", "other", "same")
    ]
    assert [(program.communicate()[0], program.returncode) for program in programs] == [("[]\n", 0)] * 3
    assert_moved(places)


def test_settings_in_the_new_place_are_not_overwritten(places: Path) -> None:
    new = places / "config" / "edge" / "config.toml"
    new.parent.mkdir(parents=True)
    new.write_text('model = "new"\n')
    (problem,) = move_old_places()
    assert "data/edge/config.toml is not read any more" in problem
    assert new.read_text() == 'model = "new"\n'
    assert (places / "data" / "edge" / "config.toml").read_text() == CONFIG


def test_settings_that_cannot_be_moved_are_still_read(places: Path) -> None:
    (places / "config").write_text("a file in the place of the folder")
    (problem,) = move_old_places()
    assert "could not be moved" in problem
    assert paths.config_file().read_text() == CONFIG


def test_links_lead_where_they_led(places: Path) -> None:
    old, kept = places / "data" / "edge", places / "dotfiles"
    kept.mkdir()
    (old / "config.toml").rename(kept / "edge.toml")
    (old / "config.toml").symlink_to("../../dotfiles/edge.toml")
    (old / "cache").rename(kept / "cache")
    (old / "cache").symlink_to("../../dotfiles/cache")
    assert move_old_places() == []
    assert os.path.samefile(paths.config_file(), kept / "edge.toml")
    assert os.path.samefile(paths.cache_dir(), kept / "cache")
    assert list(old.iterdir()) == []


def test_a_link_from_the_new_place_to_the_old_one_is_left_alone(places: Path) -> None:
    (places / "config").mkdir()
    (places / "config" / "edge").symlink_to(places / "data" / "edge")
    assert move_old_places() == []
    assert paths.config_file().read_text() == CONFIG


def test_what_is_in_both_caches_stays_as_it_is_in_the_new_one(places: Path) -> None:
    new = places / "cache" / "edge" / "docs" / "d1"
    new.mkdir(parents=True)
    (new / "index.sqlite").write_text("newer")
    assert move_old_places() == []
    assert os.listdir(new) == ["index.sqlite"]
    assert (new / "index.sqlite").read_text() == "newer"
    assert not (places / "data" / "edge" / "cache").exists()
