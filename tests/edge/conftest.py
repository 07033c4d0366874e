from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import edge
import engines_under_test
import standin


@pytest.fixture(scope="session")
def smollm(smollm_path: Path) -> Iterator[edge.Model]:
    with edge.load(smollm_path, context=2048) as model:
        yield model


@pytest.fixture(scope="session")
def engine_files(starter_home: Path) -> engines_under_test.Files:
    """The tiny model that has learnt its lines, for both engines; made once and kept, as the starter models are."""
    return engines_under_test.Files(standin.kept(starter_home / "reciter", engines_under_test.make_files))


@pytest.fixture(scope="session")
def stand_in_exports(starter_home: Path, stand_in: Path, trained_lora: Path) -> Path:
    """A folder with `stand_in` as f16.gguf and as onnx-fp32 with adapter slots, and `trained_lora` for both."""
    from edge_converters import to_adapter, to_gguf

    def make(out: Path) -> Path:
        out.mkdir()
        to_gguf(stand_in, out / "f16.gguf")
        to_adapter(trained_lora, out / "lora.gguf", base=stand_in)
        to_adapter(trained_lora, out / "lora.onnx_adapter", base=stand_in, base_out=out / "onnx-fp32", precision="fp32")
        return out

    return standin.kept(starter_home / "stand-in-exports", make)
