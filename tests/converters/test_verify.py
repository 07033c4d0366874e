"""The gate of every conversion, from Python: right exports come with their proof, broken ones are set aside."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import edge_converters
import standin
import tune_bases
from edge.errors import ConversionError, ParityError
from edge_converters import Export
from edge_converters.output import digest_of

OUT = {"gguf": "mine.gguf", "onnx": "mine", "adapter": "mine.gguf"}


def convert(kind: str, base: Path, lora: Path, out: Path, **options: Any) -> Export:
    if kind == "adapter":
        return edge_converters.to_adapter(lora, out, base=base, **options)
    if kind == "onnx":
        return edge_converters.to_onnx(base, out, adapters=lora, precision="fp32", **options)
    return edge_converters.to_gguf(base, out, adapters=lora, **options)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune_bases.make_base(tmp_path_factory.mktemp("model") / "base", max_position_embeddings=256)


@pytest.fixture(scope="module")
def lora(base: Path) -> Path:
    return standin.make_lora(base, base.with_name("lora"))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, base: Path, lora: Path) -> Callable[[str], None]:
    """Makes a kind of conversion forget the LoRA, or halve it where it is all that is written."""

    def damage(kind: str) -> None:
        module = import_module(f"edge_converters.{kind}" + ("" if kind == "adapter" else ".export"))
        name = f"export_{kind}"
        export = getattr(module, name)
        if kind == "adapter":
            monkeypatch.setattr(module, name, lambda adapter, *rest, **options: export(halved(lora), *rest, **options))
        else:
            monkeypatch.setattr(module, name, lambda *paths, adapters, **options: export(*paths, **options))

    return damage


def halved(lora: Path) -> Path:
    from safetensors.torch import load_file, save_file

    out = lora.with_name("half")
    shutil.copytree(lora, out, dirs_exist_ok=True)
    tensors = load_file(lora / "adapter_model.safetensors")
    save_file(
        {name: tensor / 2 if "lora_B" in name else tensor for name, tensor in tensors.items()},
        out / "adapter_model.safetensors",
    )
    return out


@pytest.mark.parametrize("kind", ["gguf", "adapter"])
def test_a_right_export_comes_with_its_proof(kind: str, base: Path, lora: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    out, slots = tmp_path / {"gguf": "mine.gguf", "adapter": "mine.onnx_adapter"}[kind], tmp_path / "slots"
    options = {"base_out": slots, "precision": "fp32"} if kind == "adapter" else {}
    export = convert(kind, base, lora, out, progress=lambda stage, *_: seen.append(stage), **options)
    assert export.parity is not None
    assert export.parity.passed
    assert "adapter effect" in {check.name for check in export.parity.checks if check.passed}
    assert json.loads((tmp_path / "mine.parity.json").read_text())["passed"] is True
    assert "replies" in seen


@pytest.mark.parametrize("kind", OUT)
def test_a_broken_export_is_refused_and_set_aside(
    kind: str, base: Path, lora: Path, tmp_path: Path, broken: Callable[[str], None]
) -> None:
    broken(kind)
    out = tmp_path / OUT[kind]
    failed = f"mine.failed{out.suffix}"
    older = tmp_path / failed / "model.onnx" if kind == "onnx" else tmp_path / failed
    older.parent.mkdir(exist_ok=True)
    older.write_bytes(b"an older failure gives way")
    with pytest.raises(ParityError, match=rf"PARITY FAILED \(.*do not use .*mine\.failed{out.suffix}, ") as refused:
        convert(kind, base, lora, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [failed, "mine.failed.manifest.json", "mine.failed.parity.json"]
    )
    export = pickle.loads(pickle.dumps(refused.value)).export
    assert (export.path, export.manifest) == (str(tmp_path / failed), str(tmp_path / "mine.failed.manifest.json"))
    assert {"adapter effect", "effect kept"} & {check.name for check in export.parity.failed()}
    assert export.sha256 == digest_of(tmp_path / failed)


def test_without_the_proof_nothing_is_compared(
    base: Path, lora: Path, tmp_path: Path, broken: Callable[[str], None]
) -> None:
    broken("gguf")
    export = convert("gguf", base, lora, tmp_path / "mine.gguf", verify=False)
    assert export.parity is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.gguf", "mine.manifest.json"]


def test_prompts_of_ones_own_are_asked(base: Path, lora: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("")
    with pytest.raises(ConversionError, match=r"prompts\.txt"):
        convert("gguf", base, lora, tmp_path / "mine.gguf", prompts=tmp_path / "prompts.txt")
    assert (tmp_path / "mine.gguf").exists(), "a proof that cannot be made says nothing about the export"
