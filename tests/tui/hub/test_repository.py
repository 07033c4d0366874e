"""`edge models pull` against a hub on this machine, with the faults that networks and disks have.

What arrived is compared with what the server holds, what was asked with the server's own log.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from click.testing import CliRunner, Result

from edge import library
from edge import models as public
from edge.errors import DownloadError, MissingExtra, StorageError, UsageError
from edge.system import offline
from edge_tui.cli.main import cli
from edge_tui.hub import client
from edge_tui.hub import repository as hub
from hub_server import LocalHub, Repo, allow_this_machine_alone, git_sha1, local_hub, sha256
from small_disk import resize, small_disk

BIG = bytes(range(256)) * 4096  # 1 MiB
MODEL = "tiny-q4_k_m.gguf"
ENCODER = {
    "modules.json": b"[]",
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\nb\n",
    "1_Pooling/config.json": b"{}",
    "model.safetensors": BIG[:4096],
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but this machine can be reached, and no proxy stands in between."""
    allow_this_machine_alone(monkeypatch)
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("HF_TOKEN")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    repos = {
        "owner/tiny-GGUF": Repo({"README.md": b"# Tiny\n", MODEL: BIG, "tiny-q8_0.gguf": BIG + b"8"}),
        "owner/tiny-encoder": Repo(
            ENCODER
            | {"onnx/model.onnx": BIG, "pytorch_model.bin": BIG, ".gitattributes": b"*", "train_script.py": b""},
            licence="apache-2.0",
            model_type="bert",
        ),
    }
    monkeypatch.setattr(client, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    with local_hub(repos) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def models(edge_home: Path) -> Path:
    return edge_home / "models"


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edge(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)


def partial(models: Path) -> Path:
    """The one file that an interrupted pull left."""
    (found,) = models.glob(".*.pulling/*.partial")
    return found


def test_the_server_speaks_as_the_hub_does(server: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle of the oracle: huggingface_hub's own download gets the same bytes from it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for file in (MODEL, "README.md"):
        got = huggingface_hub.hf_hub_download(
            "owner/tiny-GGUF", file, local_dir=tmp_path / "there", endpoint=server.endpoint
        )
        assert Path(got).read_bytes() == server.repos["owner/tiny-GGUF"].files[file]
    huggingface_hub.close_session()


@pytest.mark.parametrize("ours", [True, False])
def test_a_program_pulls_a_model_by_name(
    server: LocalHub, models: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], ours: bool
) -> None:
    """Also in a host's process, which stays what it was: there a child does it."""
    monkeypatch.setattr(offline, "_ours", ours)
    for name in offline.ENVIRONMENT if not ours else ():
        monkeypatch.delenv(name)
    before, reports = dict(os.environ), []
    path = public.pull("owner/tiny-GGUF", quantisation="q8_0", progress=lambda *now: reports.append(now))
    assert path.read_bytes() == BIG + b"8"
    assert [entry.path for entry in public.list()] == [str(path)]
    assert ("downloading", "tiny-q8_0.gguf", len(BIG) + 1, len(BIG) + 1) in reports
    assert dict(os.environ) == before
    with pytest.raises(UsageError, match="neither OWNER/NAME"):
        public.pull("no such name")
    assert capfd.readouterr() == ("", "")


def test_a_progress_that_raises_ends_a_pull_which_goes_on_later(
    server: LocalHub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "_ours", False)

    def stop(stage: str, _name: str, done: int, total: int) -> None:
        if stage == "downloading" and 0 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        public.pull("owner/tiny-GGUF", progress=stop)
    assert public.list() == []
    assert public.pull("owner/tiny-GGUF").read_bytes() == BIG


def test_a_gguf_file_arrives_whole_and_is_listed(server: LocalHub, models: Path) -> None:
    done = edge("models", "pull", "owner/tiny-GGUF", "--json")
    assert json.loads(done.stdout) == {
        "name": "tiny-q4_k_m",
        "path": str(models / MODEL),
        "format": "gguf",
        "bytes": len(BIG),
        "repository": "owner/tiny-GGUF",
        "commit": server.repos["owner/tiny-GGUF"].commit,
        "licence": "mit",
        "files": [MODEL],
    }
    assert tree(models) == {MODEL: BIG}
    assert [entry.name for entry in library.models()] == ["tiny-q4_k_m"]
    # Asked for at the commit that was listed, and the redirect followed; nothing says who we are.
    assert [request.path for request in server.log if request.method == "GET"] == [
        "api/models/owner/tiny-GGUF",
        f"owner/tiny-GGUF/resolve/{server.repos['owner/tiny-GGUF'].commit}/{MODEL}",
        f"storage/owner--tiny-GGUF/{MODEL}",
    ]
    assert not any("torch" in request.agent for request in server.log)
    # What is compressed on the way could not be resumed.
    assert [request.encoding for request in server.of(MODEL)] == ["identity"]
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert huggingface_hub.is_offline_mode()


def test_what_is_there_and_right_is_not_fetched_again(server: LocalHub, models: Path) -> None:
    edge("models", "pull", "owner/tiny-GGUF")
    edge("models", "pull", "owner/tiny-encoder")
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    server.log.clear()
    edge("models", "pull", "owner/tiny-GGUF:q4_k_m")
    edge("models", "pull", "owner/tiny-encoder")
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before
    assert [request.file for request in server.log] == [None, None]


def test_an_encoder_gets_what_it_needs_and_not_the_rest(server: LocalHub, models: Path) -> None:
    assert edge("models", "pull", "owner/tiny-encoder").stdout == f"{models / 'tiny-encoder'}\n"
    assert tree(models / "tiny-encoder") == ENCODER
    assert [entry.name for entry in library.encoders()] == ["tiny-encoder"]


@pytest.mark.parametrize("cut", [100_000, 3 * 65536])
def test_a_pull_that_was_cut_goes_on_where_it_stopped(server: LocalHub, models: Path, cut: int) -> None:
    server.faults.cuts[MODEL] = [cut, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="it goes on where it stopped"):
        hub.pull("owner/tiny-GGUF", models)
    assert library.models() == []
    assert partial(models).stat().st_size == cut
    server.log.clear()
    hub.pull("owner/tiny-GGUF", models)
    (request,) = server.of(MODEL)
    assert (request.range, request.sent) == (f"bytes={cut}-", len(BIG) - cut)
    assert tree(models) == {MODEL: BIG}


def test_a_connection_that_breaks_now_and_then_is_no_error(server: LocalHub, models: Path) -> None:
    server.faults.cuts[MODEL] = [300_000, 0, 0, 300_000, 100_000]
    hub.pull("owner/tiny-GGUF", models)
    assert tree(models) == {MODEL: BIG}
    assert sum(request.sent for request in server.of(MODEL)) == len(BIG)


def test_a_server_without_ranges_is_read_from_the_beginning(server: LocalHub, models: Path) -> None:
    server.faults.cuts[MODEL] = [500_000]
    server.faults.no_ranges = True
    hub.pull("owner/tiny-GGUF", models)
    assert tree(models) == {MODEL: BIG}


def test_a_busy_server_is_asked_again(server: LocalHub, models: Path) -> None:
    server.faults.statuses = [503, 500]
    hub.pull("owner/tiny-GGUF", models)
    server.faults.statuses = [429]
    with pytest.raises(DownloadError, match="429"):
        hub.pull("owner/tiny-GGUF:q8_0", models)
    assert tree(models) == {MODEL: BIG}


@pytest.mark.parametrize(
    ("repository", "file"), [("owner/tiny-GGUF", MODEL), ("owner/tiny-encoder", "1_Pooling/config.json")]
)
def test_other_bytes_are_refused_and_deleted(server: LocalHub, models: Path, repository: str, file: str) -> None:
    right = server.repos[repository].files[file]
    server.faults.bodies[file] = right[:-1] + b"?"
    with pytest.raises(DownloadError, match="other bytes"):
        hub.pull(repository, models)
    assert library.entries() == []
    assert not any(right[:-1] in data for data in tree(models).values())
    server.faults.bodies.clear()
    hub.pull(repository, models)
    assert file.split("/")[-1] in {path.name for path in models.rglob("*")}
    assert not any("pulling" in path for path in tree(models))


def test_a_damaged_beginning_is_found_out(server: LocalHub, models: Path) -> None:
    server.faults.cuts[MODEL] = [500_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        hub.pull("owner/tiny-GGUF", models)
    with partial(models).open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(DownloadError, match="other bytes"):
        hub.pull("owner/tiny-GGUF", models)
    hub.pull("owner/tiny-GGUF", models)
    assert tree(models) == {MODEL: BIG}


def test_more_bytes_than_promised_do_not_fill_the_disk(server: LocalHub, models: Path) -> None:
    server.faults.bodies[MODEL] = BIG * 3
    with pytest.raises(DownloadError, match="sends more"):
        hub.pull("owner/tiny-GGUF", models)
    assert partial(models).stat().st_size <= len(BIG)


def test_another_revision_does_not_go_on_with_the_old_ones_bytes(server: LocalHub, models: Path) -> None:
    server.faults.cuts[MODEL] = [500_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        hub.pull("owner/tiny-GGUF", models)
    new = bytes(reversed(BIG))
    server.repos["owner/tiny-GGUF"] = Repo({MODEL: new}, commit="d" * 40)
    server.log.clear()
    hub.pull("owner/tiny-GGUF", models)
    assert [request.range for request in server.of(MODEL)] == [None]
    assert tree(models) == {MODEL: new}


def test_a_file_that_a_new_revision_lacks_is_not_in_the_folder(server: LocalHub, models: Path) -> None:
    repo = server.repos["owner/tiny-encoder"]
    repo.files["added_tokens.json"] = b"{}"
    server.faults.missing = {"tokenizer.json"}
    with pytest.raises(DownloadError, match=r"tokenizer\.json"):
        hub.pull("owner/tiny-encoder", models)
    assert any(path.name == "added_tokens.json" for path in models.rglob("*"))
    del repo.files["added_tokens.json"]
    server.faults.missing.clear()
    hub.pull("owner/tiny-encoder", models)
    assert tree(models / "tiny-encoder") == ENCODER


def test_a_file_that_became_shorter_ends_in_an_error(server: LocalHub, models: Path) -> None:
    server.faults.cuts[MODEL] = [500_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        hub.pull("owner/tiny-GGUF", models)
    server.faults.bodies[MODEL] = BIG[:1000]
    with pytest.raises(DownloadError, match="1,048,576 bytes"):
        hub.pull("owner/tiny-GGUF", models)
    server.faults.bodies.clear()
    hub.pull("owner/tiny-GGUF", models)
    assert tree(models) == {MODEL: BIG}


def test_a_file_that_is_listed_and_not_there(server: LocalHub, models: Path) -> None:
    server.faults.missing = {MODEL}
    with pytest.raises(DownloadError, match=rf"no {MODEL} at .*404"):
        hub.pull("owner/tiny-GGUF", models)
    assert list(models.iterdir()) == []


def test_unknown_gated_and_misspelt(server: LocalHub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match=r"has no owner/none"):
        hub.pull("owner/none", models)
    with pytest.raises(DownloadError, match=r"no revision v9 .*404"):
        hub.pull("owner/tiny-GGUF", models, revision="v9")
    with pytest.raises(UsageError, match="OWNER/NAME"):
        hub.pull("owner/ti ny", models)
    server.repos["owner/tiny-GGUF"].gated = True
    for token in (None, "hf_of_somebody_else"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(DownloadError, match="HF_TOKEN") as caught:
            hub.pull("owner/tiny-GGUF", models)
        assert f"{server.endpoint}/owner/tiny-GGUF" in str(caught.value)
    assert list(models.iterdir()) == []
    monkeypatch.setenv("HF_TOKEN", server.secret)
    hub.pull("owner/tiny-GGUF", models)
    assert tree(models) == {MODEL: BIG}
    # The storage of large files is another origin, and is not shown the token.
    assert [request.authorization for request in server.of(MODEL)][-1] is None


def test_a_hub_that_cannot_be_reached_or_is_none(
    server: LocalHub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.page = b"<html>Welcome to our hotel</html>"
    with pytest.raises(DownloadError, match="login page"):
        hub.pull("owner/tiny-GGUF", models)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(DownloadError, match="cannot be reached"):
            hub.pull("owner/tiny-GGUF", models)
    assert not models.exists()
    assert huggingface_hub.is_offline_mode()


def test_a_proxy_that_cannot_be_used_is_named(server: LocalHub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(DownloadError, match="HTTPS_PROXY"):
        hub.pull("owner/tiny-GGUF", models)
    assert huggingface_hub.is_offline_mode()


def test_a_server_that_goes_in_the_middle(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "sleep", lambda seconds: None)
    with local_hub({"owner/a": Repo({MODEL: BIG})}) as first:
        monkeypatch.setenv("HF_ENDPOINT", first.endpoint)
        first.faults.cuts[MODEL] = [200_000]
        reports: list[int] = []

        def leave(now: Any) -> None:
            reports.append(now.done)
            if now.done >= 150_000:  # the storage answers no more
                monkeypatch.setattr(first, "storage", "http://127.0.0.1:9")

        with pytest.raises(DownloadError, match=r"127\.0\.0\.1 broke"):
            hub.pull("owner/a", models, progress=leave)
    assert reports == sorted(reports)
    with local_hub({"owner/a": Repo({MODEL: BIG})}) as second:
        monkeypatch.setenv("HF_ENDPOINT", second.endpoint)
        hub.pull("owner/a", models)
        assert [request.range for request in second.of(MODEL)] == ["bytes=200000-"]
    assert tree(models) == {MODEL: BIG}


def spawn(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edge_tui.cli.main", "models", "pull", *arguments],
        env=os.environ | {"EDGE_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_pull_shows_nothing_and_is_gone_on_with(server: LocalHub, edge_home: Path, models: Path) -> None:
    server.faults.hold[MODEL] = 600_000
    with spawn(edge_home, "owner/tiny-GGUF") as child:
        assert server.faults.held.wait(60)
        wait_for(lambda: partial(models).stat().st_size > 400_000)
        child.send_signal(signal.SIGKILL)
    server.faults.go_on.set()
    assert library.entries() == []
    done = partial(models).stat().st_size
    server.log.clear()
    hub.pull("owner/tiny-GGUF", models)
    assert [(request.range, request.sent) for request in server.of(MODEL)] == [(f"bytes={done}-", len(BIG) - done)]
    assert tree(models) == {MODEL: BIG}


def wait_for(truth: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_pulls_of_one_model_fetch_it_once(server: LocalHub, edge_home: Path, models: Path) -> None:
    server.faults.hold[MODEL] = 600_000
    with spawn(edge_home, "owner/tiny-GGUF") as first:
        assert server.faults.held.wait(60)
        with spawn(edge_home, "owner/tiny-GGUF") as second:
            assert second.stderr is not None
            assert "waiting" in second.stderr.readline()
            server.faults.go_on.set()
            said = [child.communicate(timeout=60)[0] for child in (first, second)]
    assert said == [f"{models / MODEL}\n"] * 2
    assert (first.returncode, second.returncode) == (0, 0)
    assert sum(request.sent for request in server.of(MODEL)) == len(BIG)
    assert tree(models) == {MODEL: BIG}


@pytest.mark.parametrize("announced", [True, False], ids=["seen before", "met in the middle"])
def test_a_full_disk(announced: bool, server: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "512k") as disk:
        if not announced:
            usage = shutil.disk_usage(disk)
            monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 40))
        with pytest.raises(StorageError, match="free some space"):
            hub.pull("owner/tiny-GGUF", disk / "models")
        assert [path for path in (disk / "models").iterdir() if not path.name.startswith(".")] == []
        assert (server.of(MODEL) == []) is announced
        resize(disk, "4m")
        server.log.clear()
        hub.pull("owner/tiny-GGUF", disk / "models")
        assert tree(disk / "models") == {MODEL: BIG}
        assert sum(request.sent for request in server.of(MODEL)) < len(BIG) + announced


def test_a_name_that_is_taken_is_left_alone(server: LocalHub, models: Path) -> None:
    models.mkdir(parents=True)
    (models / MODEL).write_bytes(b"mine")
    (models / "tiny-encoder").mkdir()
    for name in ("owner/tiny-GGUF", "owner/tiny-encoder"):
        with pytest.raises(StorageError, match="--name"):
            hub.pull(name, models)
    assert tree(models) == {MODEL: b"mine"}
    assert server.of(MODEL) == []
    hub.pull("owner/tiny-GGUF", models, save_as="theirs")
    assert tree(models) == {MODEL: b"mine", "theirs.gguf": BIG}


def test_what_an_interrupted_pull_left_can_be_removed(server: LocalHub, models: Path) -> None:
    server.faults.cuts[MODEL] = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        hub.pull("owner/tiny-GGUF", models)
    assert "100.0 kB are free again" in edge("models", "remove", "tiny-q4_k_m").stderr
    assert list(models.iterdir()) == []


def test_parts_of_a_split_model_come_together(server: LocalHub, models: Path) -> None:
    parts = {f"Q4_K_M/big-Q4_K_M-{i:05}-of-00003.gguf": BIG[i * 1000 : i * 1000 + 5000] for i in (1, 2, 3)}
    server.repos["owner/big"] = Repo(parts)
    pulled = hub.pull("owner/big", models, save_as="big")
    assert tree(models) == {f"big-0000{i}-of-00003.gguf": BIG[i * 1000 : i * 1000 + 5000] for i in (1, 2, 3)}
    (entry,) = library.models()
    assert (entry.path, entry.bytes, pulled.bytes) == (pulled.path, 15000, 15000)
    edge("models", "remove", entry.name, "--yes")
    assert list(models.iterdir()) == []
    del parts["Q4_K_M/big-Q4_K_M-00002-of-00003.gguf"]
    server.repos["owner/big"] = Repo(parts)
    with pytest.raises(DownloadError, match="2 of the 3 parts"):
        hub.pull("owner/big", models)


@pytest.mark.parametrize("path", ["../../evil.gguf", "/evil.gguf", "a\\..\\evil.gguf"])
def test_a_hostile_path_lands_nowhere(server: LocalHub, models: Path, path: str) -> None:
    server.repos["owner/evil"] = Repo({path: b"evil"})
    with pytest.raises(DownloadError, match="not land in its folder"):
        hub.pull("owner/evil", models)
    with pytest.raises(DownloadError, match="--name"):
        hub.pull("owner/tiny-GGUF", models, save_as="../evil")
    assert not list(models.parent.rglob("evil*"))


def test_wrong_usage_of_pull() -> None:
    for arguments in (["starter", "-q", "q8_0"], ["phi3", "--from", "."], []):
        assert CliRunner().invoke(cli, ["models", "pull", *arguments]).exit_code == 2


def test_without_huggingface_hub_the_extra_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"install 'huggingface-hub<3,>=2'"):
        hub.pull("owner/tiny-GGUF", models)


def test_the_servers_hashes_are_those_of_git_and_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"hello\n")
    git = subprocess.run(["git", "hash-object", str(file)], capture_output=True, text=True, check=True).stdout
    assert git_sha1(b"hello\n") == git.strip()
    assert sha256(b"hello\n") == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


def test_a_model_that_names_native_code_is_refused_before_its_weights_are_fetched(
    server: LocalHub, models: Path
) -> None:
    config: dict[str, Any] = {"model": {"decoder": {"filename": "model.onnx", "session_options": {}}}}
    files = {"genai_config.json": json.dumps(config).encode(), "model.onnx": BIG, "ops.so": b"\x7fELF", "x.so.1": b"x"}
    server.repos["owner/onnx"] = Repo(files)
    hub.pull("owner/onnx", models)
    assert sorted(file.name for file in (models / "onnx").iterdir()) == ["genai_config.json", "model.onnx"]
    assert server.of("ops.so") == server.of("x.so.1") == []
    config["model"]["decoder"]["session_options"]["custom_ops_library"] = "ops.so"
    server.repos["owner/evil"] = Repo({**files, "genai_config.json": json.dumps(config).encode()})
    fetched = len(server.of("model.onnx"))
    with pytest.raises(DownloadError, match=r"owner/evil was not fetched: .*names native code"):
        hub.pull("owner/evil", models)
    assert len(server.of("model.onnx")) == fetched
    assert [path.name for path in models.iterdir()] == ["onnx"]
