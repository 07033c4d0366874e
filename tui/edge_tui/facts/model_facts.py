"""What `edge models show` and `edge doctor` say of a model: read from its files, no weights loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.engines.chat_template import ChatTemplate
    from edge.engines.llamacpp.gguf_header import GgufHeader

# llama.cpp's names for general.file_type, llama.h
_FILE_TYPES = dict(
    enumerate(
        "F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS"
        " IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 - - - TQ1_0 TQ2_0"
        " MXFP4_MOE NVFP4 Q1_0 Q2_0".split()
    )
)
_BYTES = ("bytes", "kv_per_token")


def facts(path: Path) -> dict[str, object]:
    """A GGUF file's or an ONNX folder's facts; the keys are those of `--json`. Raises ModelError."""
    from edge.engines.limits import limits_of

    found, template = _gguf_facts(path) if path.is_file() else _onnx_facts(path)
    system, hostile = _system_role(template)
    limits = limits_of(path)
    return found | {
        "system_role": system,
        "rope_scaling": limits.scaling,
        "rope_original": limits.original,
        "sliding_window": limits.window,
        "notes": [*limits.notes(), *hostile],
        **_needs(path),
    }


def _system_role(template: ChatTemplate | None) -> tuple[str | None, list[str]]:
    """What becomes of a system message, and why the template cannot be used, if it cannot."""
    from edge.errors import ModelError

    if template is None:
        return None, []
    try:
        return "kept" if template.keeps_system else "put before the first question", []
    except ModelError as error:
        return None, [str(error)]


def _gguf_facts(path: Path) -> tuple[dict[str, object], ChatTemplate | None]:
    from edge.engines.chat_template import ChatTemplate
    from edge.engines.llamacpp.gguf_check import check_gguf, parts_of

    header = check_gguf(path, vocab_only=True)
    settings = header.settings
    source = settings.get("tokenizer.chat_template")
    architecture = settings["general.architecture"]
    context = settings.get(f"{architecture}.context_length")
    parts = parts_of(path) if settings.get("split.count", 0) > 1 else [path]
    found: dict[str, object] = {
        "name": settings.get("general.name") or path.stem,
        "path": str(path),
        "bytes": sum(part.stat().st_size for part in parts if part.is_file()),
        "architecture": architecture or None,
        "parameters": settings.get("general.size_label") or settings.get("general.parameter_count"),
        "quantisation": _FILE_TYPES.get(settings.get("general.file_type", -1)),
        "context": context if isinstance(context, int) else None,
        "chat_template": isinstance(source, str),
        "licence": settings.get("general.license"),
    }
    if not isinstance(source, str):
        return found, None
    return found, ChatTemplate(source, _token(header, "bos"), _token(header, "eos"))


def _token(header: GgufHeader, name: str) -> str:
    number = header.settings.get(f"tokenizer.ggml.{name}_token_id")
    tokens = header.strings("tokenizer.ggml.tokens")
    return tokens[number].decode("utf-8", "replace") if isinstance(number, int) and number < len(tokens) else ""


def _onnx_facts(folder: Path) -> tuple[dict[str, object], ChatTemplate | None]:
    from edge.engines.chat_template import ChatTemplate
    from edge.engines.memory_fit import read_genai_config
    from edge_converters.output import size_of
    from edge_converters.weights.checkpoint import read_json

    model = read_genai_config(folder)
    settings = read_json(folder / "tokenizer_config.json")
    file = folder / "chat_template.jinja"
    source = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else settings.get("chat_template")
    found: dict[str, object] = {
        "name": folder.name,
        "path": str(folder),
        "bytes": size_of(folder),
        "architecture": model.get("type"),
        "context": model.get("context_length"),
        "chat_template": file.is_file() or "chat_template" in settings,
    }
    return found, ChatTemplate(source, "", "") if isinstance(source, str) else None


def _needs(path: Path) -> dict[str, object]:
    """What it takes at the context that is taken unasked; None where its files do not tell."""
    from edge.engines.memory_fit import default_context, fit_of, needs_of
    from edge.errors import ModelError

    try:
        needs = needs_of(path)
    except ModelError:  # an ONNX folder whose configuration says little, a GGUF file with a vocabulary only
        return {"context_taken": None, "kv_per_token": None, "memory": None}
    return {
        "context_taken": default_context(needs),
        "kv_per_token": int(needs.kv_per_token()),
        "memory": asdict(fit_of(path)),
    }


def origin(manifest: dict[str, Any]) -> dict[str, object]:
    """What of a manifest says where an export comes from."""
    base = manifest.get("base") or {}
    adapters = [adapter["path"] for adapter in manifest.get("adapters", ())]
    return {"base": base.get("path"), "adapters": adapters, **manifest.get("options", {}), "made": manifest.get("made")}


def lines(key: str, value: object) -> list[str]:
    """A fact as lines for people."""
    from edge_tui.rendering.units import format_size

    if key == "parity":
        return _parity_lines(value) if isinstance(value, dict) else ["not checked"]
    if key == "memory" and isinstance(value, dict):
        return [memory_line(value)]
    if key == "notes" and isinstance(value, list):
        return [str(note) for note in value] or ["none"]
    if isinstance(value, dict):
        return [f"{name}: {_text(item)}" for name, item in value.items() if item not in (None, [], {})]
    return [format_size(value) if key in _BYTES and isinstance(value, int) else _text(value)]


def memory_line(fit: dict[str, Any]) -> str:
    """A `Fit` in one line for people."""
    from edge_tui.rendering.units import format_size

    weights, kv, scratch = (format_size(fit[part]) for part in ("weights", "kv", "scratch"))
    parts = f"weights {weights}, KV cache {kv}, working memory {scratch}"
    verdict = "it fits" if fit["fits"] else "it does not fit"
    return f"{format_size(fit['needed'])} ({parts}); {format_size(fit['available'])} free: {verdict}"


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return {"True": "yes", "False": "no", "None": "not said"}.get(str(value), str(value))


def _parity_lines(parity: dict[str, Any]) -> list[str]:
    checks = parity.get("checks", [])
    failed = [check["name"] for check in checks if check["passed"] is False]
    if failed:
        return [f"FAILED: {', '.join(failed)}"]
    passed = sum(check["passed"] is True for check in checks)
    return [f"proved: {passed} checks passed" + (f", {len(checks) - passed} not asked" if passed < len(checks) else "")]


def parity_state(path: Path) -> str | None:
    """What the file beside a model says: proved, failed, or unreadable when it is damaged; None without one."""
    from edge.errors import ConversionError
    from edge_converters.output import read_companion

    try:
        parity = read_companion(path, "parity")
    except ConversionError:
        return "unreadable"
    if parity is None:
        return None
    return "failed" if any(check.get("passed") is False for check in parity.get("checks", ())) else "proved"
