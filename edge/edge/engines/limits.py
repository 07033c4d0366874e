"""How long a context a model was made for, by its files, and what happens beyond: rotary scaling, sliding windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.engines.llamacpp.gguf_check import check_gguf
from edge.engines.memory_fit import read_genai_config

LONGROPE_TYPES = ("phi3", "phimoe", "phi4mm")
LONGROPE_ORIGINAL = 4096
"""Which genai models may be stretched by LongRoPE, and the tokens from which they are."""
_GRAPH = 1 << 26
"""Bytes; the weights of a larger graph are inside it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens. `trained` is the longest context; `original` the one before it was stretched by `scaling` ("longrope",
    "yarn", "linear"). `window`: a token sees so many before it, and `windowed` says whether the engine keeps to that.
    """

    trained: int | None
    original: int | None
    scaling: str | None
    window: int | None
    windowed: bool

    def notes(self, context: int | None = None) -> list[str]:
        """What to know of it in sentences; with a `context`, only what matters there."""
        found = []
        if self.scaling == "longrope" and self.original and (context is None or context > self.original):
            found.append(
                f"LongRoPE: beyond {self.original:,} tokens it takes a second set of rotary factors, which makes short "
                f"prompts worse; keep the context at {self.original:,} unless the prompts are longer"
            )
        if self.window and not self.windowed and (context is None or context > self.window):
            found.append(
                f"it was trained to look back {self.window:,} tokens and llama.cpp lets it look back further: beyond "
                "that its replies may differ from those of onnxruntime-genai"
            )
        return found


def limits_of(path: Path) -> Limits:
    """Raises ModelNotFound, or ModelError for a damaged file."""
    return _of_onnx(path) if path.is_dir() else _of_gguf(path)


def _of_gguf(path: Path) -> Limits:
    header = check_gguf(path, vocab_only=True)
    architecture = str(header.settings["general.architecture"])

    def number(name: str) -> int | None:
        value = header.settings.get(f"{architecture}.{name}")
        return value if isinstance(value, int) and value > 0 else None

    trained = number("context_length")
    scaling = header.settings.get(f"{architecture}.rope.scaling.type")
    if "rope_factors_long.weight" in header.tensors:
        scaling = "longrope"
    scaling = None if scaling in (None, "none") else str(scaling)
    original = number("rope.scaling.original_context_length")
    window = number("attention.sliding_window")
    ignored = architecture == "phi3" or (window is not None and trained is not None and window >= trained)
    return Limits(trained, original if scaling else None, scaling, window, window is not None and not ignored)


def _of_onnx(folder: Path) -> Limits:
    model = read_genai_config(folder)
    context = model.get("context_length")
    trained = context if isinstance(context, int) else None
    decoder = model.get("decoder")
    window = decoder.get("sliding_window") if isinstance(decoder, dict) else None
    size = window.get("window_size") if isinstance(window, dict) else None
    stretched = (
        model.get("type") in LONGROPE_TYPES and (trained or 0) > LONGROPE_ORIGINAL and _has_two_sets(folder, decoder)
    )
    return Limits(
        trained,
        LONGROPE_ORIGINAL if stretched else None,
        "longrope" if stretched else None,
        size if isinstance(size, int) and size > 0 else None,
        True,
    )


def _has_two_sets(folder: Path, decoder: object) -> bool:
    """The exporter names the tables of angles so, of which LongRoPE has a small and a large one."""
    graph = folder / str(decoder.get("filename", "model.onnx") if isinstance(decoder, dict) else "model.onnx")
    try:
        return graph.stat().st_size < _GRAPH and b"cos_cache_large" in graph.read_bytes()
    except OSError:
        return False
