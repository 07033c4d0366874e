"""What every test may use: the starter models, fetched once through `edge models pull starter`, a Phi-3 and a LoRA
that are made of them and kept beside them, and no network.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

import edge.system.offline
import standin
from edge.system.file_lock import file_lock

if TYPE_CHECKING:
    from engines_under_test import Files


def _take_own_cores() -> None:
    """Workers beside each other share the cores out: threads of two models on the same core wait for one another."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % len(cores) :: workers])


edge.system.offline.silence()
_take_own_cores()

# A shell's background job ignores Ctrl-C and so would every process that a test starts; exec resets a handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers for the whole suite; some named tests run at once, in this process."""
    return 2 if config.args == config.getini("testpaths") and (os.cpu_count() or 1) > 1 else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs for minutes begins first, so that the workers end together."""
    items.sort(key=lambda item: item.path.name not in ("test_readme.py", "test_tutorial.py"))


@pytest.fixture(scope="session")
def starter_home() -> Path:
    """A data directory that holds both starter models. Kept between runs (EDGE_TEST_HOME moves it)."""
    from edge_tui.hub.starter import pull

    home = Path(os.environ.get("EDGE_TEST_HOME") or platformdirs.user_cache_dir("edge-tests", appauthor=False))
    home.mkdir(parents=True, exist_ok=True)
    with file_lock(home / ".lock", wait=1800):
        pull(home / "models")
    return home


@pytest.fixture(scope="session")
def smollm_path(starter_home: Path) -> Path:
    """A real model: SmolLM2-135M-Instruct, Q4_1, GGUF."""
    return starter_home / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def minilm_dir(starter_home: Path) -> Path:
    """A real encoder: all-MiniLM-L6-v2 as sentence-transformers keeps it."""
    return starter_home / "models" / "all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def stand_in(starter_home: Path, smollm_path: Path) -> Path:
    """A Phi3ForCausalLM directory that speaks English: 135 M parameters, float16, byte-level BPE."""
    return standin.kept(starter_home / "stand-in", lambda out: standin.make_stand_in(smollm_path, out))


@pytest.fixture(scope="session")
def llama_stand_in(starter_home: Path, smollm_path: Path) -> Path:
    """The same weights as a LlamaForCausalLM."""
    return standin.kept(
        starter_home / "llama-stand-in", lambda out: standin.make_stand_in(smollm_path, out, architecture="llama")
    )


@pytest.fixture(scope="session")
def trained_lora(starter_home: Path, stand_in: Path) -> Path:
    """A PEFT directory trained on `stand_in`."""
    return standin.kept(starter_home / "lora", lambda out: standin.train_lora(stand_in, out))


@pytest.fixture(scope="session")
def stand_in_exports(starter_home: Path, stand_in: Path, trained_lora: Path) -> Path:
    """A folder with `stand_in` as f16.gguf and as onnx-fp32 with adapter slots, and `trained_lora` for both."""
    from edge_converters.adapter import export_adapter
    from edge_converters.gguf.export import export_gguf

    def make(out: Path) -> Path:
        out.mkdir()
        export_gguf(stand_in, out / "f16.gguf")
        export_adapter(trained_lora, out / "lora.gguf", base=stand_in)
        export_adapter(
            trained_lora, out / "lora.onnx_adapter", base=stand_in, base_out=out / "onnx-fp32", precision="fp32"
        )
        return out

    return standin.kept(starter_home / "stand-in-exports", make)


@pytest.fixture(scope="session")
def engine_files(starter_home: Path) -> Files:
    """The tiny model that has learnt its lines, for both engines; made once and kept, as the starter models are."""
    from engines_under_test import Files, make_files

    return Files(standin.kept(starter_home / "reciter", make_files))


@pytest.fixture(autouse=True)
def edge_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a data directory of its own, and none of the developer's settings."""
    for name in [name for name in os.environ if name.startswith("EDGE_") and name != "EDGE_TEST_HOME"]:
        monkeypatch.delenv(name)
    home = tmp_path / "edge-home"
    monkeypatch.setenv("EDGE_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections from Python; tests/test_offline.py looks at the system calls of native code."""

    def refuse(_socket: socket.socket, address: object) -> None:
        raise AssertionError(f"a test tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
