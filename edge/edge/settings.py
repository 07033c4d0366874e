"""What a user can set once: flags over `EDGE_*` variables over config.toml over defaults. Passed, never global."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """`model` and `encoder` are paths or library names; None takes the only or the starter one.

    `context`: tokens, None lets the model decide. `threads`: None takes the physical cores. `k`: passages that are
    looked at for a question. `prompt_passages`: how many of them the model reads; None leaves that to the question.
    `patience`: seconds that reading more than the best of them may take. `engine`: "gguf" or "onnx"; None lets the
    model's format decide. `gpu_layers`: a number, "all" or "auto". `kv_type`: "f16", "q8_0" or "q4_0". `kv_budget`:
    gigabytes on the disk for what models have read, 0 keeps none. `provider`: where ONNX computes, "cpu", "cuda" or
    "dml". `certainty`: the probability below which the documents are said not to tell; 0 answers always.
    `keep_chats`: whether `edge chat` keeps what is said. `read_ahead`: whether its model reads passages while
    nobody asks. `keys`: the table of that name, (action of the app, key) each.
    """

    model: str | None = None
    engine: str | None = None
    encoder: str | None = None
    index: str | None = None
    system: str | None = None
    context: int | None = None
    threads: int | None = None
    gpu_layers: str | None = None
    kv_type: str = "f16"
    kv_budget: float = 2.0
    provider: str | None = None
    k: int = 5
    prompt_passages: int | None = None
    patience: float = 10.0
    certainty: float = 0.5
    temperature: float = 0.0
    max_tokens: int = 512
    theme: str | None = None
    keep_chats: bool = True
    read_ahead: bool = True
    keys: tuple[tuple[str, str], ...] = ()


def load_settings(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Merge the four sources; flags that are None do not count.

    Raises UsageError for an unknown key, a value of the wrong type or a config.toml that is no TOML.
    """
    environment = os.environ if environment is None else environment
    names = {field.name: str(field.type).split(" | ")[0] for field in fields(Settings) if field.name != "keys"}
    merged: dict[str, Any] = {}
    if config is not None and config.is_file():
        try:
            written = tomllib.loads(config.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise UsageError(f"{config} cannot be read: {error}; correct it or delete it") from error
        if "keys" in written:
            merged["keys"] = _keys(written.pop("keys"), str(config))
        for key, value in written.items():
            if key not in names:
                raise UsageError(f"{config}: unknown setting {key!r}; known: {', '.join(names)}, [keys]")
            merged[key] = _convert(key, value, names[key], str(config))
    for key, kind in names.items():
        raw = environment.get(f"EDGE_{key.upper()}")
        if raw:
            merged[key] = _convert(key, raw, kind, f"EDGE_{key.upper()}")
    merged.update({key: value for key, value in (flags or {}).items() if value is not None})
    return replace(Settings(), **merged)


def _keys(table: object, source: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(table, dict):
        raise UsageError(f'{source}: keys must be a table: [keys] and below it lines like copy = "ctrl+y"')
    for action, key in table.items():
        if not isinstance(key, str):
            raise UsageError(f'{source}: [keys] {action} must be a text like "ctrl+y", not {key!r}')
    return tuple(table.items())


def _convert(key: str, value: object, kind: str, source: str) -> object:
    if kind == "bool":
        return _switch(key, value, source)
    convert = {"int": int, "float": float, "str": str}[kind]
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return convert(value)
    except ValueError:
        pass
    raise UsageError(f"{source}: {key} must be {'a text' if kind == 'str' else f'a number ({kind})'}, not {value!r}")


def _switch(key: str, value: object, source: str) -> bool:
    word = str(value).lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise UsageError(f"{source}: {key} must be true or false, not {value!r}")
