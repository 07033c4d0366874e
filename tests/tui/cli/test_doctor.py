"""`edge doctor` and `edge models show` on what runs, what does not fit and what is hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edge.engines.limits import limits_of
from edge_tui.cli import main as door
from edge_tui.cli.main import cli
from edge_tui.facts import model_facts
from gguf_files import seeds as gguf_seeds
from gguf_files.mutants import Gguf


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    for kind in ("phi3", "llama"):
        gguf_seeds.make_seed(folder / f"{kind}.gguf", kind)
    return folder


@pytest.fixture
def models(edge_home: Path) -> Path:
    folder = edge_home / "models"
    folder.mkdir(parents=True)
    return folder


def changed(source: Path, out: Path, **settings: tuple[int, Any]) -> Path:
    """A copy with other settings; `__` in a name stands for a point."""
    made = Gguf.read(source.read_bytes())
    for name, (kind, value) in settings.items():
        key = name.replace("__", ".").encode()
        made.settings = [*(entry for entry in made.settings if entry[0] != key), (key, kind, value)]
    out.write_bytes(made.write())
    return out


def doctor() -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    return done.exit_code, json.loads(done.stdout), CliRunner().invoke(cli, ["doctor"]).stdout


def test_doctor_says_what_every_model_will_run_on(seeds: Path, models: Path) -> None:
    changed(seeds / "llama.gguf", models / "small.gguf")
    _, found, text = doctor()
    (use,) = found["use"]
    assert (use["name"], use["engine"], use["context"], use["fits"]) == ("small", "gguf", 256, True)
    assert use["device"].startswith("CPU, ") or found["gpus"]
    assert 10_000_000 < use["needed"] < 50_000_000
    assert "small: " in text
    assert "context 256" in text
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
    if found["packages"]["onnxruntime-genai"]:
        assert found["onnx_providers"][-1] == "cpu"


def test_doctor_names_a_model_that_is_damaged_and_one_that_is_too_large(
    seeds: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (seeds / "llama.gguf").read_bytes()
    (models / "cut.gguf").write_bytes(data[:-100])
    (models / "good.gguf").write_bytes(data)
    for module in ("edge.system.machine", "edge.engines.memory_fit"):
        monkeypatch.setattr(f"{module}.available_memory", lambda: 5_000_000)
    code, found, text = doctor()
    assert code == 1
    cut, large = [problem for problem in found["problems"] if ".gguf" in problem]
    assert "cut.gguf is truncated or damaged" in cut
    assert "good.gguf needs" in large
    assert "5 MB of memory are free" in large
    assert found["memory"]["limited"] is True
    assert "a container or a limit" in text
    assert "more than is free" in text
    assert cut in text


def show(path: Path) -> tuple[dict[str, Any], str]:
    found = json.loads(CliRunner().invoke(cli, ["models", "show", str(path), "--json"]).stdout)
    return found, CliRunner().invoke(cli, ["models", "show", str(path)]).stdout


def test_show_warns_of_longrope_and_of_a_window_that_llama_cpp_ignores(seeds: Path, tmp_path: Path) -> None:
    path = changed(seeds / "phi3.gguf", tmp_path / "p.gguf", phi3__attention__sliding_window=(4, 100))
    facts, text = show(path)
    assert (facts["rope_scaling"], facts["rope_original"], facts["sliding_window"]) == ("longrope", 128, 100)
    assert "beyond 128 tokens" in text
    assert "look back 100 tokens" in text
    assert "it fits" in text
    assert facts["context_taken"] == 256
    # two layers, two heads of 16, keys and values, two bytes
    assert facts["kv_per_token"] == 2 * 2 * 16 * 2 * 2
    assert facts["memory"]["kv"] == facts["kv_per_token"] * 256
    limits = limits_of(path)
    assert limits.notes(90) == []
    assert len(limits.notes(110)) == 1
    assert len(limits.notes(200)) == 2


def test_show_of_a_plain_model_warns_of_nothing(smollm_path: Path) -> None:
    facts, _ = show(smollm_path)
    assert facts["notes"] == []
    assert (facts["rope_scaling"], facts["sliding_window"], facts["system_role"]) == (None, None, "kept")
    assert facts["kv_per_token"] == 23_040


EARLY = "{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
REFUSES = "{{ raise_exception('no system') if messages[0].role == 'system' }}{{ messages[0].content }}"


@pytest.mark.parametrize(("template", "says"), [(EARLY, "put before"), (REFUSES, "put before"), ("x", "put before")])
def test_show_says_what_becomes_of_the_system_role(seeds: Path, tmp_path: Path, template: str, says: str) -> None:
    path = changed(seeds / "llama.gguf", tmp_path / "m.gguf", tokenizer__chat_template=(8, template.encode()))
    assert says in show(path)[0]["system_role"]


def test_show_stops_a_hostile_template(seeds: Path, tmp_path: Path) -> None:
    hostile = b"{{ 'x' * 10 ** 9 }}"
    path = changed(seeds / "llama.gguf", tmp_path / "m.gguf", tokenizer__chat_template=(8, hostile))
    facts = model_facts.facts(path)
    assert facts["system_role"] is None
    assert any("template was stopped" in note for note in facts["notes"])  # type: ignore[attr-defined]


def test_show_of_an_onnx_folder(tmp_path: Path) -> None:
    decoder = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_size": 16}
    decoder |= {"hidden_size": 64, "filename": "model.onnx", "sliding_window": {"window_size": 2047}}
    model = {"type": "phi3", "vocab_size": 100, "context_length": 131072, "decoder": decoder}
    (tmp_path / "genai_config.json").write_text(json.dumps({"model": model}))
    (tmp_path / "model.onnx").write_bytes(b"cos_cache_large")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    facts, text = show(tmp_path)
    assert (facts["rope_scaling"], facts["rope_original"], facts["sliding_window"]) == ("longrope", 4096, 2047)
    assert len(facts["notes"]) == 1, "its engine keeps to the window"
    assert facts["context_taken"] == 4096
    assert facts["kv_per_token"] == 2 * 2 * 2 * 16 * 4
    assert "it fits" in text


def ask(*arguments: str) -> bool:
    """Whether `edge ask` answers."""
    return door._run(["ask", "Why?", "--max-tokens", "1", *arguments]) == 0


def other_index(home: Path) -> None:
    """An index of another encoder, in the place that is taken unless told."""
    from edge_index import Index

    class Encoder:
        name = "another"
        dim = 4

        def encode(self, texts: list[str]) -> Any:
            return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]

    document = home / "note.txt"
    document.write_text("The lamp is red.\n")
    with Index.open(home / "indexes" / "default", encoder=Encoder(), create=True) as index:
        index.add([document])


def damaged_index(home: Path) -> None:
    folder = home / "indexes" / "default"
    folder.mkdir(parents=True)
    (folder / "index.sqlite").write_bytes(b"no database" * 100)


def damaged_model(home: Path) -> None:
    source = home / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    (home / "cut.gguf").write_bytes(source.read_bytes()[:1_000_000])


SET_UPS: dict[str, tuple[Callable[[Path], object], dict[str, str], str]] = {
    "all well": (lambda _: None, {}, ""),
    "the beginning of a name": (lambda _: None, {"EDGE_MODEL": "smollm2"}, ""),
    "no TOML": (lambda home: (home / "config.toml").write_text("k = ["), {}, "edge config edit"),
    "unknown key": (lambda home: (home / "config.toml").write_text("modell = 'x'"), {}, "did you mean model?"),
    "wrong type": (lambda home: (home / "config.toml").write_text("k = 'many'"), {}, "k must be a number"),
    "out of range": (lambda home: (home / "config.toml").write_text("context = 1"), {}, "16 or more"),
    "wrong word": (lambda _: None, {"EDGE_KV_TYPE": "q8_1"}, "did you mean q8_0?"),
    "no such model": (lambda _: None, {"EDGE_MODEL": "smolm3"}, "smolm3"),
    "no such file": (lambda home: home, {"EDGE_MODEL": "/no/such.gguf"}, "/no/such.gguf does not exist"),
    "damaged model": (damaged_model, {"EDGE_MODEL": "{home}/cut.gguf"}, "cut.gguf is truncated or damaged"),
    "wrong engine": (lambda _: None, {"EDGE_ENGINE": "onnx"}, "there is no model"),
    "no such index": (lambda _: None, {"EDGE_INDEX": "pumps"}, "there is no index 'pumps'"),
    "no such encoder": (lambda _: None, {"EDGE_ENCODER": "bge"}, "no text encoder called 'bge'"),
    "damaged index": (damaged_index, {}, "index.sqlite"),
    "index of another encoder": (other_index, {}, "edge index rebuild"),
    "too large": (lambda _: None, {"EDGE_CONTEXT": "9000000"}, "KV cache of 9,000,000 tokens"),
}


@pytest.mark.parametrize("name", SET_UPS)
def test_doctor_is_red_exactly_where_ask_refuses(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The set-up is broken, `edge ask` is asked without documents and with some, and doctor after it."""
    change, environment, said = SET_UPS[name]
    change(home)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value.format(home=home))
    document = tmp_path / "lamp.md"
    document.write_text("The lamp is red because the pressure is low.\n")
    answers = ask() and ask("--docs", str(document))
    capsys.readouterr()
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code == 0) is answers is (not found["problems"]), found["problems"]
    assert answers is (not said)
    assert not said or any(said in problem for problem in found["problems"]), found["problems"]
