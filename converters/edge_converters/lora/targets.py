"""Which modules of a model an adapter_config.json names, by peft's rules: list, suffix, regular expression, layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

ALL_LINEAR = "all-linear"


def targeted(config: Mapping[str, Any], modules: Iterable[str], *, linear: Iterable[str]) -> set[str]:
    """Those of `modules` that `config` targets; `linear` is what "all-linear" means: no embedding, no output head.

    Source: peft's `check_target_module_exists`. Raises re.error for a pattern that is no regular expression.
    """
    targets = config.get("target_modules")
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        return {name for name in linear if not _excluded(config, name)}
    if not targets:
        return set()
    return {name for name in modules if not _excluded(config, name) and _matches(config, targets, name)}


def _excluded(config: Mapping[str, Any], name: str) -> bool:
    excluded = config.get("exclude_modules")
    if isinstance(excluded, str) and re.fullmatch(excluded, name):
        return True
    if isinstance(excluded, list) and _listed(excluded, name):
        return True
    return any(re.match(rf"(^|.*\.){saved}($|\..*)", name) for saved in config.get("modules_to_save") or [])


def _matches(config: Mapping[str, Any], targets: str | list[str], name: str) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    if name in targets:
        return True
    layers = config.get("layers_to_transform")
    if not _listed(targets, name) or layers is None or layers == []:
        return _listed(targets, name)
    layer = _layer(name, config.get("layers_pattern"))
    return layer in (layers if isinstance(layers, list) else [layers])


def _listed(names: list[str], name: str) -> bool:
    return name in names or name.endswith(tuple(f".{entry}" for entry in names))


def _layer(name: str, pattern: str | list[str] | None) -> int | None:
    """The number of the layer that `name` lies in; `pattern` names the list of layers ("layers", "h")."""
    if not pattern:
        match = re.match(r".*?\.[^.]*\.(\d+)\.", name)
        return int(match[1]) if match else None
    for entry in [pattern] if isinstance(pattern, str) else pattern:
        if match := re.match(rf"(?:^|.*?\.){entry}\.(\d+)\.", name):
            return int(match[1])
    return None
