"""What `edge models show` and `edge doctor` say of a model: read from its files, no weights loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def facts(path: Path) -> dict[str, object]:
    """A GGUF file's or an ONNX folder's facts; the keys are those of `--json`. Raises ModelError."""
    return _gguf_facts(path) if path.is_file() else _onnx_facts(path)


def _gguf_facts(path: Path) -> dict[str, object]:
    from edge.engines.gguf import describe

    metadata = describe(path)
    architecture = metadata.get("general.architecture", "")
    context = metadata.get(f"{architecture}.context_length")
    return {
        "name": metadata.get("general.name") or path.stem,
        "path": str(path),
        "bytes": path.stat().st_size,
        "architecture": architecture or None,
        "parameters": metadata.get("general.size_label") or metadata.get("general.parameter_count"),
        "quantisation": _quantisation(metadata.get("general.file_type")),
        "context": int(context) if context and context.isdigit() else None,
        "chat_template": "tokenizer.chat_template" in metadata,
        "licence": metadata.get("general.license"),
    }


def _onnx_facts(folder: Path) -> dict[str, object]:
    from edge.errors import ModelError
    from edge_converters.checkpoint import read_json
    from edge_converters.publish import size_of

    config = folder / "genai_config.json"
    if not config.is_file():
        raise ModelError(f"{folder} is no ONNX model folder (it has no genai_config.json); give one, or a GGUF file")
    model = read_json(config).get("model", {})
    return {
        "name": folder.name,
        "path": str(folder),
        "bytes": size_of(folder),
        "architecture": model.get("type"),
        "context": model.get("context_length"),
        "chat_template": (folder / "chat_template.jinja").is_file()
        or "chat_template" in read_json(folder / "tokenizer_config.json"),
    }


def origin(manifest: dict[str, Any]) -> dict[str, object]:
    """What of a manifest says where an export comes from."""
    base = manifest.get("base") or {}
    adapters = [adapter["path"] for adapter in manifest.get("adapters", ())]
    return {"base": base.get("path"), "adapters": adapters, **manifest.get("options", {}), "made": manifest.get("made")}


def lines(key: str, value: object) -> list[str]:
    """A fact as lines for people."""
    from edge_tui.commands.output import size

    if key == "parity":
        return _parity_lines(value) if isinstance(value, dict) else ["not checked"]
    if isinstance(value, dict):
        return [f"{name}: {_text(item)}" for name, item in value.items() if item not in (None, [], {})]
    return [size(value) if key == "bytes" and isinstance(value, int) else _text(value)]


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


def _quantisation(file_type: str | None) -> str | None:
    """The name that llama.cpp gives to a `general.file_type`: "3" -> "Q4_1"."""
    import llama_cpp

    names: dict[str, object] = vars(llama_cpp)
    for name, value in names.items():
        if name.startswith("LLAMA_FTYPE_") and str(value) == file_type:
            return name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
    return None
