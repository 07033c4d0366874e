from __future__ import annotations

import subprocess
import sys

import edge

PUBLIC = """
Adapter Answer Chat Citation Claim Delta EdgeError Evidence Ledger Message Model Passage Reply Retriever Sampling
Usage load
""".split()


def test_the_public_names_are_these_and_all_resolve() -> None:
    assert edge.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(edge, name) is not None


def test_importing_the_api_loads_nothing_heavy() -> None:
    code = "import sys, edge; edge.Chat, edge.load; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "llama_cpp", "onnxruntime", "textual", "sqlite3"} & set(loaded)
