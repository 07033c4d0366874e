"""onnxruntime-genai's bindings and the folders that it runs: what their configuration says, and a loaded model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import edge.system.offline
from edge.engines.limits import LONGROPE_ORIGINAL, LONGROPE_TYPES
from edge.engines.onnx.genai_config import FILE, load_genai_config
from edge.errors import MissingExtra, ModelError, ModelNotFound
from edge.installing import install_command, uninstall_command

_FATAL_ONLY = 4
_PACKAGES = {"cuda": "onnxruntime-genai-cuda", "dml": "onnxruntime-genai-directml"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What genai_config.json says: the `context` the model was trained for, in tokens, and the `ends` of a reply.

    `border`: a LongRoPE model changes its rotary factors when a sequence becomes longer than so many tokens; keys
    that were computed on one side of it do not belong with those of the other. None: no such model.
    `parameters` is estimated from layers, width and vocabulary; None where they are not told.
    """

    context: int
    ends: frozenset[int]
    border: int | None
    parameters: int | None = None


def bindings() -> ModuleType:
    """onnxruntime_genai, which neither reports nor writes anything. Raises MissingExtra."""
    edge.system.offline.silence_native()
    try:
        import onnxruntime_genai
    except ImportError as error:
        raise MissingExtra("onnxruntime-genai", "onnx") from error
    module: ModuleType = onnxruntime_genai
    return module


def read_configuration(folder: Path) -> Configuration:
    """Raises ModelNotFound, or ModelError for a folder that onnxruntime-genai cannot run."""
    file = folder / FILE
    if not folder.is_dir():
        raise ModelNotFound(f"{folder} is not there; `edge models list` shows what is")
    try:
        model = load_genai_config(file)["model"]
        ends = model["eos_token_id"]
        context = int(model["context_length"])
        found = frozenset(int(token) for token in (ends if isinstance(ends, list) else [ends]))
        weights = folder / model["decoder"]["filename"]
        border = LONGROPE_ORIGINAL if model["type"] in LONGROPE_TYPES and context > LONGROPE_ORIGINAL else None
    except FileNotFoundError as error:
        raise ModelError(f"{folder} has no genai_config.json; make it anew with `edge convert onnx`") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} cannot be used ({error!r}); make the folder anew with `edge convert onnx`") from error
    if not weights.is_file():
        raise ModelError(f"{weights} is missing; fetch the model again or make it anew with `edge convert onnx`")
    return Configuration(context, found, border, _parameters(model))


def _parameters(model: dict[str, Any]) -> int | None:
    """Twelve width² a layer (Kaplan et al. 2020, arXiv 2001.08361) and the embedding."""
    decoder = model["decoder"]
    layers, width, words = decoder.get("num_hidden_layers"), decoder.get("hidden_size"), model.get("vocab_size")
    if not all(isinstance(number, int) for number in (layers, width, words)):
        return None
    return int(12 * layers * width**2 + words * width)


def load_model(folder: Path, *, threads: int, provider: str | None = None) -> Any:
    """An onnxruntime_genai.Model on `provider`; None takes a GPU where the installed package has one, else the CPU.

    Raises ModelError, for a provider that the installed package does not have, too.
    """
    og = bindings()
    load_genai_config(folder / FILE)
    errors = []
    for name in providers(provider):
        config = og.Config(str(folder))
        config.clear_providers()
        if name != "cpu":
            config.append_provider(name)
        session = {"intra_op_num_threads": threads, "log_severity_level": _FATAL_ONLY}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        try:
            return og.Model(config)
        except RuntimeError as error:
            errors.append(f"{name}: {reason(error)}")
    raise ModelError(
        f"{folder} cannot be loaded by onnxruntime-genai ({'; '.join(errors)}); fetch it again or make it anew with "
        "`edge convert onnx`"
    )


def providers(wanted: str | None) -> list[str]:
    """What to try, best first: `wanted`, or what the installed package has. Raises ModelError."""
    og = bindings()
    available = [name for name, there in (("cuda", og.is_cuda_available()), ("dml", og.is_dml_available())) if there]
    if wanted is None:
        return [*available, "cpu"]
    if wanted not in (*_PACKAGES, "cpu"):
        raise ModelError(f"there is no provider {wanted!r}; choose cpu, cuda or dml")
    if wanted != "cpu" and wanted not in available:
        raise ModelError(
            f"the installed onnxruntime-genai has no provider {wanted!r}; run: "
            f"{uninstall_command('onnxruntime', 'onnxruntime-genai')} && {install_command(_PACKAGES[wanted])}"
        )
    return [wanted]


def reason(error: Exception) -> str:
    """The first line of what onnxruntime says, so that it fits into a sentence."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return text if len(text) <= 300 else f"{text[:300]}…"
