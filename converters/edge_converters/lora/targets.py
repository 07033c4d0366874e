"""Which modules of a model an adapter_config.json names, by peft's rules: list, suffix, regular expression, layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from edge_converters.lora.patterns import ForeignPattern

ALL_LINEAR = "all-linear"
_FIRST_NUMBER = re.compile(r".*?\.[^.]*\.(\d+)\.")


def targeted(config: Mapping[str, Any], modules: Iterable[str], *, linear: Iterable[str]) -> set[str]:
    """Those of `modules` that `config` targets; `linear` is what "all-linear" means: no embedding, no output head.

    Source: peft's `check_target_module_exists`. Raises PatternError for a pattern that is no regular expression, or
    that takes too long.
    """
    return _Targets(config).of(modules, linear)


class _Targets:
    def __init__(self, config: Mapping[str, Any]) -> None:
        targets, excluded, layers = (
            config.get(name) for name in ("target_modules", "exclude_modules", "layers_pattern")
        )
        self._all_linear = isinstance(targets, str) and targets.lower() == ALL_LINEAR
        self._targets = ForeignPattern(targets) if isinstance(targets, str) and targets else targets or []
        self._excluded = ForeignPattern(excluded) if isinstance(excluded, str) and excluded else excluded
        self._saved = saved_patterns(config)
        self._numbers = config.get("layers_to_transform")
        self._layers: list[ForeignPattern | re.Pattern[str]] = [
            ForeignPattern(str(entry), prefix=r"(?:^|.*?\.)", suffix=r"\.(\d+)\.")
            for entry in ([layers] if isinstance(layers, str) else layers or [])
            if layers
        ]

    def of(self, modules: Iterable[str], linear: Iterable[str]) -> set[str]:
        if self._all_linear:
            return {name for name in linear if not self._excludes(name)}
        if not self._targets:
            return set()
        return {name for name in modules if not self._excludes(name) and self._matches(name)}

    def _excludes(self, name: str) -> bool:
        if isinstance(self._excluded, ForeignPattern):
            excluded = self._excluded.fullmatch(name) is not None
        else:
            excluded = isinstance(self._excluded, list) and _listed(self._excluded, name)
        return excluded or any(saved.match(name) for saved in self._saved)

    def _matches(self, name: str) -> bool:
        if isinstance(self._targets, ForeignPattern):
            return self._targets.fullmatch(name) is not None
        if name in self._targets:
            return True
        numbers = self._numbers
        if not _listed(self._targets, name) or numbers is None or numbers == []:
            return _listed(self._targets, name)
        return self._layer(name) in (numbers if isinstance(numbers, list) else [numbers])

    def _layer(self, name: str) -> int | None:
        for pattern in self._layers or [_FIRST_NUMBER]:
            if match := pattern.match(name):
                return int(match[1])
        return None


def saved_patterns(config: Mapping[str, Any]) -> list[ForeignPattern]:
    """What matches the modules that `config` saves whole, and whatever is in them. Raises PatternError."""
    names = config.get("modules_to_save") or []
    return [ForeignPattern(str(name), prefix=r"(^|.*\.)", suffix=r"($|\..*)") for name in names]


def _listed(names: list[str], name: str) -> bool:
    return name in names or name.endswith(tuple(f".{entry}" for entry in names))
