"""What a user can set once: flags over `EDGE_*` variables over config.toml over defaults. Passed, never global."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from edge.errors import UsageError
from edge.system.suggestions import did_you_mean

Source = Literal["flag", "environment", "config", "default"]


def _setting(
    default: Any, about: str, *, choices: tuple[str, ...] = (), least: float | None = None, most: float | None = None
) -> Any:
    """A field of Settings, with what it means and which values it takes: `choices`, or from `least` to `most`."""
    return field(default=default, metadata={"about": about, "choices": choices, "least": least, "most": most})


RENAMED = {"patience": "extra_read_seconds", "certainty": "min_answerable", "read_ahead": "prewarm"}
"""Old names of settings, and of their variables, that are still taken where the new one is not set; for one release."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings; what each means stands beside it. `keys`: the table of that name, (action of the app, key) each."""

    model: str | None = _setting(None, "the model that answers: a name or a path; the only or the starter one")
    engine: Literal["gguf", "onnx"] | None = _setting(
        None, "where a name stands for models of both formats", choices=("gguf", "onnx")
    )
    encoder: str | None = _setting(None, "the text encoder: a name or a path; the only or the starter one")
    index: str | None = _setting(None, "the index to answer from: a name or a folder")
    system: str | None = _setting(None, "what the model is told before everything else")
    context: int | None = _setting(None, "tokens that prompt and reply share; the model decides", least=16)
    threads: int | None = _setting(None, "threads that compute; the physical cores", least=1)
    gpu_layers: str | None = _setting(None, 'layers on the GPU: a number, "all" or "auto"')
    kv_type: Literal["f16", "q8_0", "q4_0"] = _setting("f16", "type of the KV cache", choices=("f16", "q8_0", "q4_0"))
    kv_budget: float = _setting(2.0, "gigabytes on the disk for what models have read; 0 keeps none", least=0)
    provider: str | None = _setting(None, "where ONNX computes", choices=("cpu", "cuda", "dml"))
    k: int = _setting(5, "passages that are looked at for a question", least=1, most=1000)
    prompt_passages: int | None = _setting(None, "how many of them the model reads; the question decides", least=1)
    extra_read_seconds: float = _setting(10.0, "seconds that reading more than the best of them may take", least=0)
    min_answerable: float = _setting(0.5, "below this probability the documents do not tell", least=0, most=1)
    temperature: float = _setting(0.0, "how freely words are chosen; 0 is greedy", least=0)
    max_tokens: int = _setting(512, "the longest reply", least=1)
    think: bool = _setting(False, "whether a model that can do without thinks before it answers")
    thinking_budget: int | None = _setting(
        None, "tokens that thinking may take beside the answer's; 2048 for a model that is to think", least=0
    )
    theme: str | None = _setting(None, "the colours of the app")
    keep_chats: bool = _setting(True, "whether edge chat keeps what is said")
    prewarm: bool = _setting(True, "whether its model reads passages while nobody asks")
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """A setting as it is now: its value, what it would be unless set, and who set it.

    `origin` is the name of the flag, the variable or the file that set it, "" for a default. `choices` are the only
    words that it takes, () where it takes more.
    """

    name: str
    value: Any
    default: Any
    type: str
    source: Source
    origin: str
    choices: tuple[str, ...]
    about: str


_FIELDS: dict[str, Field[Any]] = {each.name: each for each in fields(Settings) if each.name != "keys"}
NAMES = tuple(_FIELDS)


def load_settings(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Merge the four sources; flags that are None do not count.

    Raises UsageError for an unknown key, a value that a setting does not take or a config.toml that is no TOML.
    """
    written = _read_checked(config)
    environment = os.environ if environment is None else environment
    values = {name: _resolve(name, flags or {}, environment, written, str(config)).value for name in NAMES}
    return Settings(**values, keys=tuple(written.get("keys", {}).items()))


def resolve_settings(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> list[Resolved]:
    """Every setting but the keys, each with where its value came from. Raises UsageError as `load_settings` does."""
    written = _read_checked(config)
    environment = os.environ if environment is None else environment
    return [_resolve(name, flags or {}, environment, written, str(config)) for name in NAMES]


def _read_checked(config: Path | None) -> dict[str, Any]:
    written = read_config(config)
    for key, value in written.items():
        if key == "keys":
            _check_keys(value, str(config))
        else:
            check_setting(key, value, str(config))
    return written


def _resolve(
    name: str, flags: Mapping[str, object], environment: Mapping[str, str], written: Mapping[str, object], config: str
) -> Resolved:
    each, names = _FIELDS[name], spellings(name)
    variable = next((variable for variable in map(variable_of, names) if environment.get(variable)), "")
    given: dict[Source, tuple[object, str]] = {
        "flag": (flags.get(name), f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"),
        "environment": (environment.get(variable), variable),
        "config": (next((written[one] for one in names if one in written), None), config),
    }
    kind, choices, about = _type(each), each.metadata["choices"], each.metadata["about"]
    for source, (value, origin) in given.items():
        if value is not None:
            value = check_setting(name, value, origin)
            return Resolved(name, value, each.default, kind, source, origin, choices, about)
    return Resolved(name, each.default, each.default, kind, "default", "", choices, about)


def spellings(name: str) -> tuple[str, ...]:
    """The name of a setting, and after it those that it had once."""
    return (name, *(old for old, new in RENAMED.items() if new == name))


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"EDGE_{name.upper()}"


def read_config(config: Path | None) -> dict[str, Any]:
    """What stands in a config.toml, unchecked; {} without one. Raises UsageError for a file that is no TOML."""
    if config is None or not config.exists():
        return {}
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{config} cannot be read: {error}; correct it (edge config edit) or delete it") from error


def check_setting(name: str, value: object, source: str) -> Any:
    """`value` as the type of the setting `name`, texts converted. Raises UsageError, which names `source`."""
    each = _FIELDS.get(RENAMED.get(name, name))
    if each is None:
        meant = did_you_mean(name, NAMES)
        raise UsageError(f"{source}: unknown setting {name!r}{meant or '; known: ' + ', '.join(NAMES) + ', [keys]'}")
    converted = _convert(name, value, _type(each), source)
    _check_choice(name, converted, each.metadata["choices"], source)
    _check_range(name, converted, each.metadata["least"], each.metadata["most"], source)
    if name == "gpu_layers" and not str(converted).isdecimal():
        _check_choice(name, converted, ("all", "auto"), source, also="a number, ")
    return converted


def _type(each: Field[Any]) -> str:
    """ "str", "int", "float" or "bool"; the words of a Literal are texts."""
    name = str(each.type).split(" | ")[0]
    return name if name in ("int", "float", "bool") else "str"


def _check_choice(name: str, value: object, choices: tuple[str, ...], source: str, also: str = "") -> None:
    if choices and value not in choices:
        meant = did_you_mean(str(value), choices)
        raise UsageError(f"{source}: {name} must be {also}{' or '.join(choices)}, not {value!r}{meant}")


def _check_range(name: str, value: object, least: float | None, most: float | None, source: str) -> None:
    if not isinstance(value, int | float):
        return
    # Written so that nan, which is neither, is refused too.
    if not (least is None or value >= least) or not (most is None or value <= most):
        span = f"{least:g} or more" if most is None else f"from {least:g} to {most:g}"
        raise UsageError(f"{source}: {name} must be {span}, not {value!r}")


def _check_keys(table: object, source: str) -> None:
    if not isinstance(table, dict):
        raise UsageError(f'{source}: keys must be a table: [keys] and below it lines like copy = "ctrl+y"')
    for action, key in table.items():
        if not isinstance(key, str):
            raise UsageError(f'{source}: [keys] {action} must be a text like "ctrl+y", not {key!r}')


def _convert(key: str, value: object, kind: str, source: str) -> object:
    if kind == "bool":
        return _switch(key, value, source)
    convert = {"int": int, "float": float, "str": str}[kind]
    try:
        whole = kind != "int" or not isinstance(value, float) or value.is_integer()
        if isinstance(value, str | int | float) and not isinstance(value, bool) and whole:
            return convert(value)
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{source}: {key} must be {'a text' if kind == 'str' else f'a number ({kind})'}, not {value!r}")


def _switch(key: str, value: object, source: str) -> bool:
    word = str(value).lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise UsageError(f"{source}: {key} must be true or false, not {value!r}")
