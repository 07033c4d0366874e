from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edge

PUBLIC = {
    "edge": """
        Adapter AdapterError Answer Chat Citation Claim ContextOverflow ContextUsage ConversionError DataError Delta
        DocumentError DownloadError Dropped EdgeError EncoderError Evidence EvidenceRetriever FileReplaced
        FormatError JudgingRetriever KnowledgeError Message MissingExtra Model ModelBusy ModelError
        ModelNotFound ModelTooLarge ParityError Passage Prefill RagOptions Reply Retriever Sampling StorageError
        TuningError TuningStopped Usage UsageError load models
    """,
    "edge_index": "AddProgress AddReport Document Encoder Failure Index Outdated Reranker TextEncoder",
    "edge_converters": """
        AdapterSource Export Parity Tuned check_examples check_parity convert_encoder convert_examples merge
        read_examples split_examples to_adapter to_encoder to_gguf to_onnx tune
    """,
}


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these_and_all_resolve(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == PUBLIC[package].split()
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = module.nothing_of_ours


@pytest.mark.parametrize("package", PUBLIC)
def test_completion_offers_what_was_not_used_yet(package: str) -> None:
    """In a process of its own: here they have all been used."""
    code = f"import {package}; print(*dir({package}))"
    offered = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(PUBLIC[package].split()) <= set(offered)
    assert "__version__" in offered or package != "edge"


def test_every_error_is_a_public_name() -> None:
    waiting, names = [edge.EdgeError], set()
    while waiting:
        kind = waiting.pop()
        if kind.__module__ == "edge.errors":
            names.add(kind.__name__)
        waiting += kind.__subclasses__()
    assert names <= set(edge.__all__)


def test_the_version_is_the_distribution_s() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert edge.__version__ == project["version"]


def test_importing_the_api_loads_nothing_heavy() -> None:
    code = "import sys, edge; edge.Chat, edge.load; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "llama_cpp", "onnxruntime", "textual", "sqlite3"} & set(loaded)
